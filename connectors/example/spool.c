/* SPDX-License-Identifier: MIT
 * A whole connector: files of a spool directory as messages. README.md builds it up step by step.
 *
 * Whoever writes a file renames it into the directory when it is complete (or names it `.x` or `x.tmp`
 * until then). A file is one message, its contents the payload. When it is finished it is renamed into
 * `done/`, durably, so that it is never a message again; until then it stays where it is, whatever
 * becomes of sluice. The disk is local: reading and renaming do not wait for anybody, so all is done on
 * the host's thread. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sluice/connector.h>

#define SECOND     INT64_C(1000000)
#define FILES_MOST 1000 /* with the host at a time */

#define WATCHED    (IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

/* A file that the host has, or that waits to be renamed. */
struct file {
    struct file *next;
    char *name;
    char *payload; /* NULL once released */
    size_t size;
    char identity[64];
    char modified[24];
    struct sluice_header headers[2];
    bool finished; /* accepted: to be renamed */
    bool given_back;
};

struct spool {
    struct sluice_host *host;
    const struct sluice_host_api *api;
    const char *directory; /* the host's, as long as the instance */
    size_t size_most;
    int watch;             /* inotify */
    int fd;                /* the directory; -1: it is not there */
    void *lane;            /* the host's cookie; `open` says whether there is one */
    bool open, stopping, closing, drained, stopped;
    bool dirty;            /* there may be files that were not looked at */
    bool failing;          /* finished files cannot be moved */
    uint64_t position;
    struct file *files;
    size_t file_count;
};

static void tell(struct spool *spool, uint32_t state, const char *what, const char *name)
{
    char text[512];

    snprintf(text, sizeof text, "%s %s: %s", what, name, strerror(errno));
    spool->api->state(spool->host, state, text);
}

/* ---- options ---- */

static const struct sluice_option options[] = {
    {.name = "directory", .type = SLUICE_STRING, .flags = SLUICE_OPTION_REQUIRED,
     .help = "Directory whose files are messages; finished ones are moved to done/ in it."},
    {.name = "max_bytes", .type = SLUICE_BYTES, .default_text = "64 MiB",
     .minimum = 1, .maximum = INT64_C(1) << 30,
     .help = "Larger files are left alone, and told about."},
    {.name = NULL},
};

static int spool_open(struct sluice_host *host, const struct sluice_host_api *api,
                      const struct sluice_values *values, void **ret_instance)
{
    const char *directory = api->values->text(values, "directory");
    struct spool *spool;

    if (directory[0] != '/') {
        api->values->refuse(values, "directory", "found a relative path, expected an absolute one, "
                                                 "as sluice may be started from anywhere");
        return -1;
    }
    spool = calloc(1, sizeof *spool);
    if (!spool)
        return -1;
    *spool = (struct spool){.host = host,
                            .api = api,
                            .directory = directory,
                            .size_most = (size_t)api->values->number(values, "max_bytes"),
                            .watch = -1,
                            .fd = -1};
    *ret_instance = spool;
    return 0;
}

static int spool_start(void *instance, const char *name)
{
    struct spool *spool = instance;

    (void)name; /* nobody to tell it to */
    spool->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (spool->watch < 0) {
        tell(spool, SLUICE_STATE_FAILED, "cannot watch", spool->directory);
        return -1;
    }
    spool->api->state(spool->host, SLUICE_STATE_CONNECTING, NULL);
    return 0;
}

static int spool_descriptor(void *instance)
{
    return ((struct spool *)instance)->watch;
}

/* ---- the directory ---- */

/* Makes `done/` where it is missing. 0; -1 with a state told, to be tried again. */
static int enter(struct spool *spool)
{
    const struct sluice_lane lane = {
        .name = spool->directory, .source = spool->directory, .partition = -1, .cookie = spool};

    if (spool->open)
        return 0;
    spool->fd = open(spool->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (spool->fd < 0) {
        tell(spool, errno == EACCES ? SLUICE_STATE_UNAUTHORISED : SLUICE_STATE_MISSING,
             "cannot read the directory", spool->directory);
        return -1;
    }
    if ((mkdirat(spool->fd, "done", 0777) && errno != EEXIST) ||
        inotify_add_watch(spool->watch, spool->directory, WATCHED) < 0) {
        tell(spool, SLUICE_STATE_FAILED, "cannot use the directory", spool->directory);
        close(spool->fd);
        spool->fd = -1;
        return -1;
    }
    spool->lane = spool->api->lane_opened(spool->host, &lane);
    spool->open = spool->dirty = true;
    spool->api->state(spool->host, SLUICE_STATE_RUNNING, NULL);
    return 0;
}

static bool is_known(const struct spool *spool, const char *name)
{
    for (const struct file *file = spool->files; file; file = file->next)
        if (!strcmp(file->name, name))
            return true;
    return false;
}

static int is_message(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);

    return entry->d_name[0] != '.' && strcmp(entry->d_name, "done") != 0 &&
           (size < 4 || strcmp(entry->d_name + size - 4, ".tmp") != 0) &&
           (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN);
}

static void free_file(struct file *file)
{
    free(file->payload);
    free(file->name);
    free(file);
}

/* NULL: it is gone, no file, or cannot be read now. */
static struct file *read_file(struct spool *spool, const char *name)
{
    int fd = openat(spool->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct file *file = NULL;
    struct stat status;
    ssize_t got = 1;

    if (fd < 0 || fstat(fd, &status) || !S_ISREG(status.st_mode))
        goto out;
    if ((size_t)status.st_size > spool->size_most) {
        char text[512];

        snprintf(text, sizeof text, "%s has %lld bytes, more than max_bytes: it is left alone", name,
                 (long long)status.st_size);
        spool->api->log(spool->host, SLUICE_LOG_WARNING, "file_too_large", text);
        goto out;
    }
    file = calloc(1, sizeof *file);
    file->name = strdup(name);
    file->payload = malloc((size_t)status.st_size + 1);
    while (got > 0 && file->size < (size_t)status.st_size) {
        got = read(fd, file->payload + file->size, (size_t)status.st_size - file->size);
        file->size += got > 0 ? (size_t)got : 0;
    }
    if (file->size < (size_t)status.st_size) {
        free_file(file);
        file = NULL;
        goto out;
    }
    /* Another file of the same name is another message. */
    snprintf(file->identity, sizeof file->identity, "%ju-%jd.%09ld", (uintmax_t)status.st_ino,
             (intmax_t)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    snprintf(file->modified, sizeof file->modified, "%jd", (intmax_t)status.st_mtim.tv_sec);
    file->headers[0] = (struct sluice_header){{"file", 4}, {file->name, strlen(file->name)}};
    file->headers[1] = (struct sluice_header){{"modified", 8},
                                              {file->modified, strlen(file->modified)}};
out:
    if (fd >= 0)
        close(fd);
    return file;
}

static void deliver(struct spool *spool, struct file *file)
{
    const struct sluice_message message = {
        .lane = spool->lane,
        .handle = file,
        .position = ++spool->position,
        .payload = {file->payload, file->size},
        .identity = {file->identity, strlen(file->identity)},
        .timestamp_ms = strtoll(file->modified, NULL, 10) * 1000,
        .timestamp_kind = SLUICE_TIMESTAMP_CREATED,
        .has_headers = 1,
    };

    file->next = spool->files;
    spool->files = file;
    spool->file_count++;
    spool->api->deliver(spool->host, &message, 1);
}

/* Delivers files in the order of their names, as far as there is room. */
static void look(struct spool *spool, const struct sluice_room *room)
{
    size_t messages = room->messages, bytes = room->bytes;
    struct dirent **entries = NULL;
    int count = scandir(spool->directory, &entries, is_message, alphasort);

    spool->dirty = false;
    for (int i = 0; i < count; i++) {
        if (!is_known(spool, entries[i]->d_name)) {
            if (messages && bytes && spool->file_count < FILES_MOST) {
                struct file *file = read_file(spool, entries[i]->d_name);

                if (file) {
                    messages--;
                    bytes -= file->size < bytes ? file->size : bytes;
                    deliver(spool, file);
                }
            } else {
                spool->dirty = true;
            }
        }
        free(entries[i]);
    }
    free(entries);
}

/* ---- settling ---- */

/* The contract's heart: `accept` is durable before anybody may believe it. Forgets the file once it is
 * in `done/` and the host has no use for it any more. */
static void finish_files(struct spool *spool)
{
    bool renamed = false, failed = false;

    for (struct file *file = spool->files; file && !failed; file = file->next) {
        char done[300];

        if (!file->finished || file->given_back)
            continue;
        snprintf(done, sizeof done, "done/%s", file->name);
        failed = renameat(spool->fd, file->name, spool->fd, done) && errno != ENOENT;
        file->given_back = !failed; /* nothing more to do with it */
        renamed |= !failed;
    }
    if (renamed && fsync(spool->fd))
        failed = true;
    if (failed)
        tell(spool, SLUICE_STATE_FAILED, "cannot move finished files to done/ in",
             spool->directory);
    else if (spool->failing)
        spool->api->state(spool->host, SLUICE_STATE_RUNNING, NULL);
    spool->failing = failed;
    for (struct file **at = &spool->files; *at;) {
        struct file *file = *at;

        if (file->payload || !file->given_back) {
            at = &file->next;
            continue;
        }
        *at = file->next;
        spool->file_count--;
        spool->dirty = true; /* one that was given back comes again */
        free_file(file);
    }
}

static void spool_settle(void *instance, struct sluice_settle_item *items, size_t count)
{
    struct spool *spool = instance;

    for (size_t i = 0; i < count; i++) {
        struct file *file = items[i].handle;

        items[i].result = !spool->open;
        if (items[i].action == SLUICE_RELEASE)
            file->given_back = true;
        else
            file->finished = true;
    }
}

static void spool_release(void *instance, void *const *handles, size_t count)
{
    (void)instance;
    for (size_t i = 0; i < count; i++) {
        struct file *file = handles[i];

        free(file->payload);
        file->payload = NULL;
        file->given_back |= !file->finished; /* the lane was lost */
    }
}

static size_t spool_headers(void *instance, void *handle, struct sluice_header *ret, size_t room)
{
    const struct file *file = handle;

    (void)instance;
    for (size_t i = 0; i < 2 && i < room; i++)
        ret[i] = file->headers[i];
    return 2;
}

/* ---- progress ---- */

static void leave(struct spool *spool)
{
    finish_files(spool);
    spool->api->lane_lost(spool->host, spool->lane); /* the host releases all */
    finish_files(spool);
    close(spool->fd);
    spool->fd = -1;
    spool->open = false;
}

/* Returns whether the directory itself went away. */
static bool read_events(struct spool *spool)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool gone = false;
    ssize_t size;

    while ((size = read(spool->watch, events, sizeof events)) > 0) {
        const struct inotify_event *event;

        for (char *at = events; at < events + size; at += sizeof *event + event->len) {
            event = (const struct inotify_event *)at;
            gone |= (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0;
        }
        spool->dirty = true;
    }
    return gone;
}

static void spool_lane_drained(void *instance, void *lane)
{
    (void)lane;
    ((struct spool *)instance)->drained = true;
}

static void continue_stop(struct spool *spool)
{
    if (spool->open && !spool->closing) {
        spool->closing = true;
        spool->api->lane_closing(spool->host, spool->lane);
    }
    if (!spool->stopped && (!spool->open || spool->drained)) {
        spool->stopped = true;
        spool->api->stopped(spool->host);
    }
}

static int64_t spool_receive(void *instance, const struct sluice_room *room)
{
    struct spool *spool = instance;

    if (read_events(spool) && spool->open)
        leave(spool);
    if (!spool->stopping && enter(spool))
        return SECOND;
    if (spool->open)
        finish_files(spool);
    if (spool->stopping)
        continue_stop(spool);
    else if (spool->dirty && room->messages && room->bytes)
        look(spool, room);
    return SECOND;
}

static void spool_stop(void *instance, int64_t deadline_us)
{
    struct spool *spool = instance;

    (void)deadline_us; /* the host drains within it */
    spool->drained |= spool->stopping; /* the second call: hurry */
    spool->stopping = true;
}

static void spool_close(void *instance)
{
    struct spool *spool = instance;

    if (spool->open)
        leave(spool);
    if (spool->watch >= 0)
        close(spool->watch);
    free(spool);
}

static int spool_check(void *instance, const struct sluice_check *check)
{
    struct spool *spool = instance;
    char text[512];
    bool ok = access(spool->directory, R_OK | W_OK | X_OK) == 0;

    snprintf(text, sizeof text, ok ? "%s can be read and written%s" : "%s cannot be used: %s",
             spool->directory, ok ? "" : strerror(errno));
    check->report(check->cookie, ok, text);
    return ok ? 0 : -1;
}

static const struct sluice_connector connector = {
    .magic = SLUICE_ABI_MAGIC,
    .struct_size = sizeof(struct sluice_connector),
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .capabilities = SLUICE_HAS_STABLE_IDENTITY,
    .name = "spool",
    .version = "1.0",
    .description = "Files of a spool directory",
    .options = options,
    .open = spool_open,
    .start = spool_start,
    .descriptor = spool_descriptor,
    .receive = spool_receive,
    .settle = spool_settle,
    .release = spool_release,
    .headers = spool_headers,
    .lane_drained = spool_lane_drained,
    .stop = spool_stop,
    .close = spool_close,
    .check = spool_check,
};

SLUICE_CONNECTOR(connector)
