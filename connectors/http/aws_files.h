/* SPDX-License-Identifier: MIT
 * AWS's shared files, ~/.aws/credentials and ~/.aws/config
 * (docs.aws.amazon.com/sdkref/latest/guide/file-format.html), and other small files of credentials. */
#ifndef AWS_FILES_H
#define AWS_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* The two files as they are at the moment; NULL where there is none. */
struct aws_files {
    char *credentials, *config;
    char *credentials_path, *config_path;
};

/* Reads them from where AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE or HOME say. That there are none is
 * no mistake. 0; -1 with a text, and nothing to be freed. */
int aws_files_read(struct aws_files *ret, char *ret_problem, size_t room);
void aws_files_free(struct aws_files *files);

/* The setting of a profile, from the first file that has it; the caller frees it. NULL: none, or no
 * memory. */
char *aws_files_value(const struct aws_files *files, const char *profile, const char *key);
bool aws_files_has(const struct aws_files *files, const char *profile);
/* The path of the file whose setting that is; NULL: no file has it. */
const char *aws_files_where(const struct aws_files *files, const char *profile, const char *key);

/* The text of a small file without blanks at its end; the caller frees it. NULL with a text. */
char *aws_files_text(const char *path, char *ret_problem, size_t room);

#endif
