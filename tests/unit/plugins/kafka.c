/* SPDX-License-Identifier: MIT
 * As fake, by the name that the samples use: they are read where the real one is not built. */
#define FAKE_NAME "kafka"
#include "fake.c"
