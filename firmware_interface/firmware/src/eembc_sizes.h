/* Bytes of a stimulus and length of the result vector, as the suite has them, for the model that -DEEMBC_MODEL= names. */
#ifndef EEMBC_SIZES_H
#define EEMBC_SIZES_H

#ifndef EEMBC_MODEL
#define EEMBC_MODEL ic01
#endif

#define EEMBC_STRING(text) #text
#define EEMBC_STRING_OF(macro) EEMBC_STRING(macro)
#define EEMBC_JOIN(a, b) a##b
#define EEMBC_JOINED(a, b) EEMBC_JOIN(a, b)

enum {
    ic01_input = 3072,
    ic01_results = 10,
    kws01_input = 490,
    kws01_results = 12,
    vww01_input = 27648,
    vww01_results = 2,
    ad01_input = 2560,
    ad01_results = 1,
};

#define EEMBC_ID EEMBC_STRING_OF(EEMBC_MODEL)
#define EEMBC_MODEL_INPUT EEMBC_JOINED(EEMBC_MODEL, _input)
#define EEMBC_MODEL_RESULTS EEMBC_JOINED(EEMBC_MODEL, _results)

#endif
