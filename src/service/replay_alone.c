/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/replay_alone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/memory.h"
#include "service/config.h"

struct replay_alone {
    struct token_store *tokens;
    struct dead_letter_store *letters;
    struct recorder *recorder;
};

long replay_alone_holder(const char *state_directory)
{
    char *path = memory_format("%s/sluice.lock", state_directory), text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    long holder = -1;

    free(path);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        ssize_t size = pread(fd, text, sizeof text - 1, 0);

        holder = size > 0 ? strtol(text, NULL, 10) : 0;
    }
    close(fd);
    return holder;
}

struct replay_alone *replay_alone_open(const struct configuration *configuration,
                                       struct replay_context *ret_context, struct fault *fault)
{
    const struct service_settings *service = &configuration->service;
    struct replay_alone *alone = memory_zero(1, sizeof *alone);

    alone->tokens = token_store_lmdb_open(service->state_directory, service->store_bytes,
                                          configuration_longest_ttl(configuration), fault);
    if (alone->tokens)
        alone->letters =
            dead_letter_store_sqlite_open(service->state_directory, DEAD_LETTER_WRITE, fault);
    if (alone->letters)
        alone->recorder = recorder_new(alone->tokens, alone->letters, NULL, fault);
    if (!alone->recorder || recorder_start(alone->recorder, fault) != 0) {
        replay_alone_close(alone);
        return NULL;
    }
    *ret_context = (struct replay_context){.state_directory = service->state_directory,
                                           .mappings = configuration->mappings,
                                           .mapping_count = configuration->mapping_count,
                                           .recorder = alone->recorder,
                                           .token_store = alone->tokens};
    return alone;
}

void replay_alone_close(struct replay_alone *alone)
{
    if (!alone)
        return;
    recorder_free(alone->recorder);
    if (alone->letters)
        alone->letters->ops->close(alone->letters);
    if (alone->tokens)
        alone->tokens->ops->close(alone->tokens);
    free(alone);
}
