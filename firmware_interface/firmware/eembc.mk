# The variant that answers a standard benchmark runner (docs/eembc.md): BUILD/eembc-MODEL/BOARD, for
#   make eembc    [EEMBC_MODEL=ic01|kws01|vww01|ad01] [EEMBC_BOARDS="mps2-an386 posix posix-sanitized"]
#   make eembc EEMBC_NETWORK=FILE.c    with a network instead of a checksum, into BUILD/eembc-MODEL-network/BOARD
#   make fuzz-eembc    libFuzzer on its commands

EEMBC_MODEL ?= ic01
EEMBC_BOARDS ?= $(BOARDS) posix posix-sanitized
EEMBC_NETWORK ?=
EEMBC_BUILD := $(BUILD)/eembc-$(EEMBC_MODEL)$(if $(EEMBC_NETWORK),-network)$(LIMITS)
EEMBC_DEFINES := -DEEMBC_MODEL=$(EEMBC_MODEL) $(if $(EEMBC_NETWORK),-DEEMBC_NETWORK)
EEMBC_CORE := src/crc32.c src/frame.c src/uart.c src/eembc.c src/eembc_numbers.c
EEMBC_SOURCES := $(EEMBC_CORE) src/retained.c src/main_eembc.c \
    $(if $(EEMBC_NETWORK),src/eembc_image.c src/runtime.c src/kernel_copy.c src/bytes.c,src/eembc_checksum.c)
EEMBC_KERNELS := $(if $(EEMBC_NETWORK),$(KERNELS:%=$(HERE)%))
EEMBC_FUZZED := tests/fuzz_eembc.c tests/fake_port.c port/nor_ram.c $(EEMBC_CORE)
EEMBC_NEEDS := $(EEMBC_SOURCES:%=$(HERE)%) $(EEMBC_NETWORK) $(EEMBC_KERNELS) $(HEADERS) $(HERE)boards.mk $(HERE)eembc.mk $(HERE)Makefile

.PHONY: eembc fuzz-eembc
eembc: $(foreach board,$(EEMBC_BOARDS),$(EEMBC_BUILD)/$(board)/$(if $(filter posix%,$(board)),board,firmware.elf))

$(EEMBC_BUILD)/%/firmware.elf: $(EEMBC_NEEDS) $(HERE)port/cortexm/memory.ld.S $$(addprefix $(HERE),$$($$*_SOURCES))
	@mkdir -p $(@D)
	@$(CROSS)gcc -E -P -x c $($*_MEMORY) $(HERE)port/cortexm/memory.ld.S -o $(@D)/memory.ld
	@rm -rf $(@D)/kernels && mkdir $(@D)/kernels
	@$(if $(EEMBC_KERNELS),cd $(@D)/kernels && \
	    $(CROSS)gcc $(call CROSS_FLAGS,$*) $(KERNEL_FLAGS) -c $(abspath $(EEMBC_KERNELS)))
	@$(CROSS)gcc $(call CROSS_FLAGS,$*) $(EEMBC_DEFINES) -Os -flto $($*_MEMORY) \
	    $(EEMBC_SOURCES:%=$(HERE)%) $(EEMBC_NETWORK) $(addprefix $(HERE),$($*_SOURCES)) \
	    $(if $(EEMBC_KERNELS),$(@D)/kernels/*.o) \
	    --specs=nano.specs -nostartfiles -Wl,--gc-sections -Wl,-T,$(@D)/memory.ld -Wl,-Map,$(@D)/firmware.map \
	    -Wl,--fatal-warnings -o $@
	@$(CROSS)size $@

EEMBC_HOST = $(HOST_CC) $(HOST_FLAGS) $(1) $(EEMBC_DEFINES) $(filter %.c,$^) -o $@

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
