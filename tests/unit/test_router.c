/* SPDX-License-Identifier: MIT */
#include "service/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void echo(void *argument, const struct router_call *call, struct router_answer *answer)
{
    const char *text = router_body_text(call, "text");

    answer->status = 202;
    answer->body =
        json_pack("{s:s, s:s?, s:s?, s:s?}", "who", argument, "first", call->parameters[0],
                  "second", call->parameters[1], "text", text);
}

static void refuse(void *argument, const struct router_call *call, struct router_answer *answer)
{
    router_refuse(answer, 409, "no %s", "way");
    json_object_set_new(answer->body, "more", json_true());
}

static void say_nothing(void *argument, const struct router_call *call,
                        struct router_answer *answer)
{
}

static const struct router_route routes[] = {
    {"GET", "/v1/things", echo},
    {"POST", "/v1/things/{name}", echo},
    {"DELETE", "/v1/things/{name}", say_nothing},
    {"GET", "/v1/things/{name}/parts/{part}", echo},
    {"POST", "/v1/refuse", refuse},
    {0},
};
static const struct router_route other_routes[] = {
    {"GET", "/v1/other", echo},
    {"GET", "/v1/things", refuse}, /* never reached: an earlier route wins */
    {0},
};

static void expect(const char *method, const char *path, const char *body, unsigned status,
                   const char *answer)
{
    struct http_server_request request = {.method = method,
                                          .path = path,
                                          .body = body,
                                          .body_size = body ? strlen(body) : 0};
    struct http_server_answer got = {0};
    struct router *router = router_new();

    buffer_init(&got.body, 65536);
    router_add(router, routes, "one");
    router_add(router, other_routes, "two");
    router_handle(router, &request, &got);
    router_free(router);
    if (got.status != status || strcmp(buffer_text(&got.body), answer) != 0)
        fail_msg("%s %s: %u %s", method, path, got.status, buffer_text(&got.body));
    assert_string_equal(got.content_type,
                        status < 400 ? "application/json" : "application/problem+json");
    buffer_fini(&got.body);
}

static void finds_its_routes(void **state)
{
    expect("GET", "/v1/things", NULL, 202,
           "{\"who\":\"one\",\"first\":null,\"second\":null,\"text\":null}\n");
    expect("HEAD", "/v1/things", NULL, 202,
           "{\"who\":\"one\",\"first\":null,\"second\":null,\"text\":null}\n");
    expect("POST", "/v1/things/a", "{\"text\":\"x\"}", 202,
           "{\"who\":\"one\",\"first\":\"a\",\"second\":null,\"text\":\"x\"}\n");
    expect("GET", "/v1/things/a/parts/b c", NULL, 202,
           "{\"who\":\"one\",\"first\":\"a\",\"second\":\"b c\",\"text\":null}\n");
    expect("GET", "/v1/other", NULL, 202,
           "{\"who\":\"two\",\"first\":null,\"second\":null,\"text\":null}\n");
    expect("DELETE", "/v1/things/a", NULL, 200, "{}\n");
}

static void refuses_what_it_does_not_know(void **state)
{
    static const char *const unknown[] = {"",         "/",           "/v1/",         "/v1/things/",
                                          "/v1/thing", "/v1/thingss", "/v1/things/a/parts",
                                          "/v1/things/a/parts/", "/v1/things//parts/b",
                                          "/v1/things/a/parts/b/c", "v1/things"};
    char problem[256];

    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        snprintf(problem, sizeof problem,
                 "{\"title\":\"Not Found\",\"status\":404,\"detail\":\"there is no %s\"}\n",
                 unknown[i]);
        expect("GET", unknown[i], NULL, 404, problem);
    }
    expect("POST", "/v1", NULL, 405,
           "{\"title\":\"Method Not Allowed\",\"status\":405,\"detail\":\"/v1 does not take "
           "POST\"}\n");
    expect("GET", "/v1/things/a", NULL, 405,
           "{\"title\":\"Method Not Allowed\",\"status\":405,\"detail\":\"/v1/things/a does not "
           "take GET\"}\n");
}

static void refuses_bodies_that_are_no_json(void **state)
{
    expect("POST", "/v1/things/a", "{\"text\":", 400,
           "{\"title\":\"Bad Request\",\"status\":400,\"detail\":\"the body is no JSON: "
           "unexpected token near end of file at byte 8\"}\n");
}

static void handlers_refuse_with_a_problem(void **state)
{
    expect("POST", "/v1/refuse", NULL, 409,
           "{\"title\":\"Conflict\",\"status\":409,\"detail\":\"no way\",\"more\":true}\n");
}

static void long_parameters_are_no_overflow(void **state)
{
    char path[4096];
    struct http_server_request request = {.method = "POST", .path = path};
    struct http_server_answer got = {0};
    struct router *router = router_new();

    memset(path, 'x', sizeof path - 1);
    memcpy(path, "/v1/things/", 11);
    path[sizeof path - 1] = '\0';
    buffer_init(&got.body, 65536);
    router_add(router, routes, "one");
    router_handle(router, &request, &got);
    assert_int_equal(got.status, 404);
    buffer_fini(&got.body);
    router_free(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_its_routes),
        cmocka_unit_test(refuses_what_it_does_not_know),
        cmocka_unit_test(refuses_bodies_that_are_no_json),
        cmocka_unit_test(handlers_refuse_with_a_problem),
        cmocka_unit_test(long_parameters_are_no_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
