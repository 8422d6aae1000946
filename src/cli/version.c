/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <sysexits.h>

#include <curl/curl.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <lmdb.h>
#include <microhttpd.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <xxhash.h>
#include <yajl/yajl_version.h>
#include <yaml.h>

#include <sluice/connector.h>

#include "cli/arguments.h"
#include "cli/cli.h"
#include "io/plugin.h"

static void print_libraries(void)
{
    const int yajl = yajl_version();
    const unsigned xxhash = XXH_versionNumber();

    printf("connector ABI %d.%d\n", SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    printf("connectors in %s\n", SLUICE_CONNECTOR_DIRECTORY);
    printf("configuration in %s\n", SLUICE_CONFIG_DIRECTORY);
    printf("%s\n", curl_version());
    printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
    printf("jansson %s\n", jansson_version_str());
    printf("GnuTLS %s\n", gnutls_check_version(NULL));
    printf("libmicrohttpd %s\n", MHD_get_version());
    printf("libyaml %s\n", yaml_get_version_string());
    printf("%s\n", mdb_version(NULL, NULL, NULL));
    printf("SQLite %s\n", sqlite3_libversion());
    printf("xxHash %u.%u.%u\n", xxhash / 10000, xxhash / 100 % 100, xxhash % 100);
    printf("yajl %d.%d.%d\n", yajl / 10000, yajl / 100 % 100, yajl % 100);
}

static void print_connectors(void)
{
    struct plugin_found *list;
    size_t count = plugin_list(NULL, &list), i;

    for (i = 0; i < count; i++) {
        const struct plugin_found *found = &list[i];

        if (found->plugin)
            printf("connector %s %s: %s\n", found->name, found->plugin->connector.version,
                   found->plugin->connector.description);
        else
            printf("connector %s cannot be used: %s\n", found->name, found->fault.text);
    }
    plugin_free_list(list, count);
}

int cmd_version(int argc, char **argv)
{
    static const struct arguments_option options[] = {
        {"verbose", 'v', NULL, "Print the libraries' versions and the built-in paths too."},
        {0},
    };
    static const struct arguments_usage usage = {"version", "[--verbose]",
                                                 "Prints the version of sluice.", options, NULL};
    struct arguments arguments;
    int option, code, verbose = 0;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0)
        verbose = 1;
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count)
        return arguments_refuse(&arguments, "unexpected \"%s\"", arguments.operands[0]);
    printf("sluice %s\n", SLUICE_VERSION);
    if (verbose) {
        print_libraries();
        print_connectors();
    }
    return EX_OK;
}
