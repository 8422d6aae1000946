/* SPDX-License-Identifier: MIT */
#include "service/message_ids.h"

#include <stddef.h>

const struct log_message_id message_ids[] = {
    {"dead_letter", "95bfa0e109de4fbe8ef97d6e06f8b102"},
    {"suspect", "3e1d6709fdd44526af7367a3f4554aa2"},
    {"target_down", "a70b71bc7eff49b9b852d11f2b2768ac"},
    {"target_paused", "5b95970c0828431fbe9c93b518ad7592"},
    {"dead_letters_stuck", "8e37962f629546df9700ab79eca85c61"},
    {"records_stuck", "92cf4b313d214115967d9330ae06eb42"},
    {"parking_stuck", "c5a1f6f3a9c14f0f9f0b7b1c0d7c2e94"},
    {"park_full", "5f0e1f3a4f0c4f4b8a55b0c7a1b6d3e2"},
    {"memory_short", "84a66ba71cdd4380925731c1d6547c0f"},
    {"watchdog_starved", "5a0090e40eb143e3bddb9b2d023d74a2"},
    {"poller_failed", "8d9b7b90f1c74c00a5a3ef039aa1a6a2"},
    {"mapping_start_failed", "fbb100a8d04744d1a8649b2d26c431dd"},
    {"reload_refused", "6aea7c63b8e74f62ad44817b69da9a25"},
    {NULL, NULL},
};
