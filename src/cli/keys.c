/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <jansson.h>

#include "base/suggest.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/option_listing.h"
#include "service/config.h"

enum { JSON, SERVICE };

static const struct arguments_option options[] = {
    [JSON] = {"json", 'j', NULL, "Print JSON."},
    [SERVICE] = {"service", 's', NULL, "The keys of sluice.yaml instead."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "keys",
    .synopsis = "[OPTION...] [KEY]",
    .description =
        "Lists the keys of a mapping file: what they mean, accept and default to. With KEY,\n"
        "only this one and what is below it. A dot means nesting. For what stands below\n"
        "`source`, see `sluice connectors NAME`.",
    .options = options,
    .examples = "  sluice keys retry\n"
                "  sluice keys target.http.tls\n"
                "  sluice keys --service",
};

static int refuse_key(const struct sluice_option *table, const char *key)
{
    struct suggest suggest = suggest_begin(key);

    for (; table->name; table++)
        suggest_offer(&suggest, table->name);
    fprintf(stderr, "sluice keys: no key \"%s\"", key);
    if (suggest.nearest)
        fprintf(stderr, "; did you mean \"%s\"?\n", suggest.nearest);
    else
        fputs("; `sluice keys` lists them all\n", stderr);
    return EX_USAGE;
}

int cmd_keys(int argc, char **argv)
{
    const struct sluice_option *table = mapping_table;
    struct arguments arguments;
    bool json = false;
    int option, code;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        if (option == JSON)
            json = true;
        else
            table = service_table;
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count > 1)
        return arguments_refuse(&arguments, "unexpected \"%s\"", arguments.operands[1]);
    if (json) {
        json_t *list = option_listing_json(table);

        json_dumpf(list, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(list);
        return EX_OK;
    }
    return option_listing_print(table, arguments.operand_count ? arguments.operands[0] : NULL)
               ? EX_OK
               : refuse_key(table, arguments.operands[0]);
}
