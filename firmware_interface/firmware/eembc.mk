# The variant that answers a standard benchmark runner (docs/eembc.md): BUILD/eembc-MODEL/BOARD, for
#   make eembc    [EEMBC_MODEL=ic01|kws01|vww01|ad01] [EEMBC_BOARDS="mps2-an386 posix posix-sanitized"]
#   make fuzz-eembc    libFuzzer on its commands

EEMBC_MODEL ?= ic01
EEMBC_BOARDS ?= $(BOARDS) posix posix-sanitized
EEMBC_BUILD := $(BUILD)/eembc-$(EEMBC_MODEL)$(LIMITS)
EEMBC_CORE := src/crc32.c src/frame.c src/uart.c src/eembc.c src/eembc_numbers.c
EEMBC_SOURCES := $(EEMBC_CORE) src/retained.c src/eembc_checksum.c src/main_eembc.c
EEMBC_FUZZED := tests/fuzz_eembc.c tests/fake_port.c port/nor_ram.c $(EEMBC_CORE)
EEMBC_NEEDS := $(EEMBC_SOURCES:%=$(HERE)%) $(HEADERS) $(HERE)boards.mk $(HERE)eembc.mk $(HERE)Makefile

.PHONY: eembc fuzz-eembc
eembc: $(foreach board,$(EEMBC_BOARDS),$(EEMBC_BUILD)/$(board)/$(if $(filter posix%,$(board)),board,firmware.elf))

$(EEMBC_BUILD)/%/firmware.elf: $(EEMBC_NEEDS) $(HERE)port/cortexm/memory.ld.S $$(addprefix $(HERE),$$($$*_SOURCES))
	@mkdir -p $(@D)
	@$(CROSS)gcc -E -P -x c $($*_MEMORY) $(HERE)port/cortexm/memory.ld.S -o $(@D)/memory.ld
	@$(CROSS)gcc $(call CROSS_FLAGS,$*) -DEEMBC_MODEL=$(EEMBC_MODEL) -Os -flto $($*_MEMORY) \
	    $(EEMBC_SOURCES:%=$(HERE)%) $(addprefix $(HERE),$($*_SOURCES)) \
	    --specs=nano.specs -nostartfiles -Wl,--gc-sections -Wl,-T,$(@D)/memory.ld -Wl,-Map,$(@D)/firmware.map \
	    -Wl,--fatal-warnings -o $@
	@$(CROSS)size $@

EEMBC_HOST = $(HOST_CC) $(HOST_FLAGS) $(1) -DEEMBC_MODEL=$(EEMBC_MODEL) $(filter %.c,$^) -o $@

$(EEMBC_BUILD)/posix/board: $(EEMBC_NEEDS) $(HOST_SOURCES:%=$(HERE)%)
	@mkdir -p $(@D)
	@$(EEMBC_HOST)

$(EEMBC_BUILD)/posix-sanitized/board: $(EEMBC_NEEDS) $(HOST_SOURCES:%=$(HERE)%)
	@mkdir -p $(@D)
	@$(call EEMBC_HOST,$(SANITIZERS))

fuzz-eembc: $(BUILD)/tests/fuzz-eembc
	@mkdir -p $(BUILD)/tests/corpus-eembc
	@cd $(BUILD)/tests && ./fuzz-eembc -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -verbosity=0 -print_final_stats=1 \
	    -dict=$(abspath $(HERE)tests/eembc.dict) corpus-eembc

$(BUILD)/tests/fuzz-eembc: $(EEMBC_FUZZED:%=$(HERE)%) $(HEADERS)
	@mkdir -p $(@D)
	@$(FUZZ_CC) $(TEST_FLAGS) -fsanitize=fuzzer $(filter %.c,$^) -o $@

# Numbers from the standard input as text, for a comparison with another implementation.
$(BUILD)/tests/eembc-numbers: $(HERE)tests/eembc_numbers.c $(HERE)src/eembc_numbers.c $(HEADERS)
	@mkdir -p $(@D)
	@$(HOST_CC) $(TEST_FLAGS) $(filter %.c,$^) -o $@
