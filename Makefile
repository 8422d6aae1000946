# sluice: one Makefile. `make help` lists what it does.
#
#   make           build sluice and its connectors into build/
#   make demo      see the main job run (installs what is missing, builds, needs no broker)
#   make test      all tests, against a real Kafka and RabbitMQ (installs what is missing)
#   make check     unit and contract tests only: fast; starts RabbitMQ where it is installed
#   make test-docker    the image of docker/Dockerfile, built without an engine; needs root
#   make test-systemd   as a service of a real systemd on a bare Debian; needs root
#   make fuzz FUZZ=NAME   one of tests/fuzz by libFuzzer, until it is stopped; needs clang
#   make lint      layers, headers, sizes, clang-tidy, warnings as errors under gcc and clang
#   make bench     sluice beside a bare loop over the same libraries
#   make bench-dlq sluice dlq over a million dead letters
#   make deps      install the Debian packages needed to build
#   make install   obeys DESTDIR, PREFIX, BINDIR, LIBDIR, SYSCONFDIR, MANDIR, UNITDIR
#   make clean
#
# Variables: CC=clang, SAN=address,undefined or SAN=thread (own folder below build/), DEVELOPER=1
# (all warnings are errors), V=1 (show commands).

VERSION   := $(shell cat VERSION)
PREFIX    ?= /usr/local
LIBDIR    ?= $(PREFIX)/lib
BINDIR    ?= $(PREFIX)/bin
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
MANDIR    ?= $(PREFIX)/share/man
UNITDIR   ?= $(PREFIX)/lib/systemd/system
CATALOGDIR ?= $(PREFIX)/lib/systemd/catalog
CONNECTORDIR ?= $(LIBDIR)/sluice/connectors
INSTALL   ?= install
PKG_CONFIG ?= pkg-config
CC        ?= cc

comma := ,
variant := $(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(filter clang%,$(notdir $(CC))),-clang)
B := build$(if $(variant),/variant$(variant))

packages := libcurl jansson lmdb sqlite3 libmicrohttpd yaml-0.1 yajl libxxhash libcrypto gnutls
ifeq ($(filter help deps clean demo test test-systemd test-docker,$(or $(MAKECMDGOALS),all)),)
missing := $(shell for p in $(packages) rdkafka librabbitmq; do $(PKG_CONFIG) --exists $$p 2>/dev/null || echo $$p; done)
ifneq ($(missing),)
$(error missing libraries: $(missing) -- `make deps` installs them from Debian)
endif
endif
pkg_cflags := $(shell $(PKG_CONFIG) --cflags $(packages) 2>/dev/null)
pkg_libs   := $(shell $(PKG_CONFIG) --libs $(packages) 2>/dev/null)

warnings := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
	-Wformat=2 -Wundef -Wvla -Wno-unused-parameter $(if $(DEVELOPER),-Werror)
machine := $(shell uname -m)
hardening := -fstack-protector-strong -fstack-clash-protection -fPIC -fno-common -fvisibility=hidden \
	$(if $(filter x86_64,$(machine)),-fcf-protection)$(if $(filter aarch64,$(machine)),-mbranch-protection=standard) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2)
OPT ?= -O2
CFLAGS ?= -g $(OPT)
all_cflags = -std=gnu11 $(CFLAGS) $(warnings) $(hardening) -pthread -Iinclude -Isrc \
	-DSLUICE_VERSION='"$(VERSION)"' -DSLUICE_CONNECTOR_DIRECTORY='"$(CONNECTORDIR)"' \
	-DSLUICE_CONFIG_DIRECTORY='"$(SYSCONFDIR)/sluice"'
all_ldflags = $(LDFLAGS) -pthread -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-4s %s\n' $(1) $(2);)

sources := $(sort $(filter-out src/demo/%,$(wildcard src/*/*.c)))
objects := $(sources:src/%.c=$(B)/obj/%.o)
connectors := $(notdir $(patsubst %/,%,$(dir $(wildcard connectors/*/connector.mk))))
plugins := $(connectors:%=$(B)/connectors/sluice-%.so)
units := $(sort $(wildcard tests/unit/test_*.c))
unit_programs := $(units:tests/unit/%.c=$(B)/tests/%)
contracts := $(sort $(wildcard tests/contract/test_*.c))
# librdkafka starts its threads by thrd_create, which the thread sanitizer does not know.
contract_programs := $(filter-out $(if $(findstring thread,$(SAN)),%/contract_test_kafka), \
	$(contracts:tests/contract/%.c=$(B)/tests/contract_%))

.PHONY: all help deps demo test check lint bench install install-dev uninstall clean
all: $(B)/sluice $(B)/sluice-demo-kafka $(plugins)

# Objects are rebuilt when flags change, through this stamp.
$(B)/flags: FORCE
	@mkdir -p $(B) && echo '$(CC) $(all_cflags)' | cmp -s - $@ || echo '$(CC) $(all_cflags)' > $@
.PHONY: FORCE

$(B)/obj/%.o: src/%.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(all_cflags) $(pkg_cflags) -MMD -MP -c -o $@ $<

$(B)/libsluice.a: $(filter-out $(B)/obj/cli/main.o,$(objects))
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(B)/sluice: $(B)/obj/cli/main.o $(B)/libsluice.a
	$(call say,LINK,$@)$(CC) $(all_ldflags) -pie -o $@ $^ $(pkg_libs) -ldl -lm

# The Kafka of `sluice demo`, a program of its own, so that sluice is not linked with librdkafka.
$(B)/sluice-demo-kafka: src/demo/demo_kafka.c $(B)/flags
	$(call say,LINK,$@)$(CC) $(all_cflags) $(shell $(PKG_CONFIG) --cflags rdkafka 2>/dev/null) $(all_ldflags) -pie -o $@ $< $(shell $(PKG_CONFIG) --libs rdkafka 2>/dev/null)

# A connector: connectors/NAME/connector.mk sets NAME_packages and may set NAME_cflags.
-include $(connectors:%=connectors/%/connector.mk)
define connector_rule
$(1)_sources := $$(sort $$(wildcard connectors/$(1)/*.c))
$(1)_objects := $$($(1)_sources:%.c=$(B)/obj/%.o)
$$($(1)_objects): $(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $$(@D)
	$$(call say,CC,$$<)$(CC) $$(filter-out -Isrc,$$(all_cflags)) $$(shell $(PKG_CONFIG) --cflags $$($(1)_packages)) -MMD -MP -c -o $$@ $$<
$(B)/connectors/sluice-$(1).so: $$($(1)_objects)
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)$(CC) $(all_ldflags) -shared -o $$@ $$^ $$(shell $(PKG_CONFIG) --libs $$($(1)_packages))
endef
$(foreach c,$(connectors),$(eval $(call connector_rule,$(c))))

# Connectors that unit tests load: tests/unit/plugins/NAME.c, and one for each way in which bad.c can
# be wrong.
bad_plugins := $(shell sed -n 's/^ \* BAD \([a-z-]*\).*/bad-\1/p' tests/unit/plugins/bad.c 2>/dev/null)
test_plugins := $(patsubst %,$(B)/tests/plugins/sluice-%.so,$(bad_plugins) \
	$(filter-out bad,$(notdir $(basename $(wildcard tests/unit/plugins/*.c)))))
.SECONDARY: $(test_plugins)
$(B)/tests/plugins/sluice-%.so: tests/unit/plugins/%.c $(wildcard include/sluice/*.h tests/unit/plugins/*.[ch]) $(B)/flags
	@mkdir -p $(@D)
	$(call say,TEST,$@)$(CC) $(filter-out -Isrc,$(all_cflags)) $(all_ldflags) -shared -o $@ $<
$(B)/tests/plugins/sluice-bad-%.so: tests/unit/plugins/bad.c $(wildcard include/sluice/*.h tests/unit/plugins/*.h) $(B)/flags
	@mkdir -p $(@D)
	$(call say,TEST,$@)$(CC) $(filter-out -Isrc,$(all_cflags)) -DBAD='"$*"' $(all_ldflags) -shared -o $@ $<

$(B)/tests/%: tests/unit/%.c $(B)/libsluice.a | $(test_plugins)
	@mkdir -p $(@D)
	$(call say,TEST,$@)$(CC) $(all_cflags) $(pkg_cflags) -Itests -DTEST_SOURCE='"$(CURDIR)"' -DTEST_PLUGINS='"$(CURDIR)/$(B)/tests/plugins"' -MMD -MP -MF $(B)/obj/$*.test.d $(all_ldflags) -o $@ $< $(B)/libsluice.a $(pkg_libs) -lcmocka -ldl -lm

# Contract tests see the public headers and tests/contract. test_NAME also gets NAME_*.c and the
# libraries of the connector NAME.
contract_common := $(filter-out $(contracts),$(wildcard $(addsuffix .c,$(addprefix tests/contract/,cases cases_place fake_api fake_host runner))))
contract_plugins := $(patsubst tests/contract/plugins/%.c,$(B)/tests/plugins/contract/sluice-%.so,$(wildcard tests/contract/plugins/*.c))
$(contract_plugins): $(B)/tests/plugins/contract/sluice-%.so: tests/contract/plugins/%.c $(wildcard include/sluice/*.h) $(B)/flags
	@mkdir -p $(@D)
	$(call say,TEST,$@)$(CC) $(filter-out -Isrc,$(all_cflags)) $(all_ldflags) -shared -o $@ $<
.SECONDEXPANSION:
$(B)/tests/contract_test_%: tests/contract/test_%.c $(contract_common) $$(wildcard tests/contract/$$*_*.c) $(wildcard tests/contract/*.h include/sluice/*.h) $(plugins) | $(contract_plugins)
	@mkdir -p $(@D)
	$(call say,TEST,$@)$(CC) $(filter-out -Isrc,$(all_cflags)) $(if $($*_packages),$(shell $(PKG_CONFIG) --cflags $($*_packages))) -Itests/contract -DTEST_CONTRACT='"$(CURDIR)/tests/contract"' $(all_ldflags) -o $@ $(filter %.c,$^) -lcmocka -ldl -lm $(if $($*_packages),$(shell $(PKG_CONFIG) --libs $($*_packages)))

# Fuzz targets: fuzz_NAME.c, and fuzz_CONNECTOR_NAME.c with the connector's own files. Here they run for a
# second on mutations of their seeds; `make fuzz FUZZ=NAME` has libFuzzer run one until it is stopped.
fuzz_names := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
fuzz_programs := $(fuzz_names:%=$(B)/tests/fuzz_%)
fuzz_connector = $(filter $(connectors),$(firstword $(subst _, ,$1)))
fuzz_parts = tests/fuzz/fuzz_$1.c $(foreach c,$(fuzz_connector),$($(c)_objects)) $(B)/libsluice.a
define fuzz_link
@mkdir -p $(@D)
$(call say,TEST,$@)$(CC) $(all_cflags) $(pkg_cflags) $(foreach c,$(call fuzz_connector,$*),-Iconnectors/$(c) $(shell $(PKG_CONFIG) --cflags $($(c)_packages))) -DFUZZ_SEEDS='"$(CURDIR)/tests/fuzz/seeds/$*"' $(all_ldflags) -o $@ $(filter %.c %.o %.a,$^) $(foreach c,$(call fuzz_connector,$*),$(shell $(PKG_CONFIG) --libs $($(c)_packages))) $(pkg_libs) -ldl -lm
endef
$(B)/tests/fuzz_%: tests/fuzz/driver.c $$(call fuzz_parts,$$*) tests/fuzz/fuzz.h $(B)/flags
	$(fuzz_link) -lcmocka
$(B)/tests/libfuzzer_%: $$(call fuzz_parts,$$*) tests/fuzz/fuzz.h $(B)/flags
	$(fuzz_link) -fsanitize=fuzzer

.PHONY: fuzz
fuzz:
	@$(MAKE) --no-print-directory CC=clang SAN=address,undefined,fuzzer-no-link \
		build/variant-address-undefined-fuzzer-no-link-clang/tests/libfuzzer_$(FUZZ)
	@mkdir -p build/fuzz/$(FUZZ)
	cd build/fuzz && ../variant-address-undefined-fuzzer-no-link-clang/tests/libfuzzer_$(FUZZ) $(FUZZ) \
		../../tests/fuzz/seeds/$(FUZZ) $(FUZZ_FLAGS)

check: all $(unit_programs) $(contract_programs) $(fuzz_programs)
	@SLUICE_BUILD=$(B) tests/run_programs $(unit_programs) $(fuzz_programs) $(contract_programs)

# A bare machine has no pkg-config when make reads this file, so what follows the installation runs
# in a make of its own.
demo:
	@tests/dependencies build
	@$(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$$(nproc)) all
	@$(B)/sluice demo --keep $(B)/demo

test:
	@tests/dependencies test
	@$(MAKE) --no-print-directory test-all

.PHONY: test-all test-integration
test-all: check test-integration

test-integration: all
	@SLUICE_BUILD=$(B) tests/integration/run

# Where memory and order of events are handled, under the address and undefined-behaviour sanitizers.
.PHONY: test-sanitized
test-sanitized:
	@tests/dependencies test
	@SLUICE_TEST_TIMEOUT=600 SLUICE_TEST_PATIENCE=4 $(MAKE) --no-print-directory SAN=address,undefined check
	@SLUICE_BUILD=build/variant-address-undefined SLUICE_TEST_PATIENCE=4 tests/integration/run \
		$(addprefix tests/integration/test_,$(addsuffix .py,path tokens partial order rebalance rabbitmq_source rabbitmq_hostile rabbitmq_stream))

.PHONY: test-systemd
test-systemd:
	@tests/dependencies systemd
	@$(MAKE) --no-print-directory all
	@SLUICE_BUILD=$(B) tests/integration/run -n0 tests/systemd/test_systemd.py tests/systemd/test_package.py

.PHONY: test-docker
test-docker:
	@tests/dependencies systemd
	@$(MAKE) --no-print-directory all
	@SLUICE_BUILD=$(B) tests/integration/run -n0 tests/docker

lint: all
	@SLUICE_BUILD=$(B) tests/lint/run

bench_programs := floor floor_idle floor_rabbitmq floor_sqs sqs_server bench_producer bench_latency
bench: all $(bench_programs:%=$(B)/tests/%)
	@SLUICE_BUILD=$(B) tests/bench/run

.PHONY: bench-dlq
bench-dlq: all $(B)/tests/test_dead_letter_store $(B)/tests/test_recorder $(B)/tests/bench_producer
	@SLUICE_BUILD=$(B) tests/bench/dlq

$(B)/tests/floor $(B)/tests/floor_idle $(B)/tests/floor_rabbitmq $(B)/tests/bench_producer: $(B)/tests/%: tests/bench/%.c tests/bench/floor.h $(B)/flags
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) -Wall -Wextra -pthread -o $@ $< $(shell $(PKG_CONFIG) --cflags --libs $(if $(findstring rabbitmq,$@),librabbitmq,rdkafka) libcurl)
$(B)/tests/floor_sqs $(B)/tests/sqs_server: $(B)/tests/%: tests/bench/%.c tests/bench/floor.h $(B)/flags
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) -Wall -Wextra -pthread -o $@ $< $(shell $(PKG_CONFIG) --cflags --libs libcurl libcrypto libmicrohttpd jansson)
$(B)/tests/bench_latency: tests/bench/bench_latency.c $(B)/libsluice.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) -Wall -Wextra -pthread -Isrc -o $@ $^ $(shell $(PKG_CONFIG) --cflags --libs rdkafka libmicrohttpd)

completions := bash-completion/completions/sluice zsh/vendor-completions/_sluice \
	fish/vendor_completions.d/sluice.fish
units_installed := $(notdir $(wildcard config/systemd/*.service config/systemd/*.socket))
man1 := $(wildcard src/*.1)
man5 := $(wildcard src/*.5)
man7 := $(wildcard src/*.7 connectors/*/*.7)
# What connectors from elsewhere are built against.
install-dev:
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/include/sluice $(DESTDIR)$(PREFIX)/share/pkgconfig
	$(INSTALL) -m 644 include/sluice/*.h $(DESTDIR)$(PREFIX)/include/sluice
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@CONNECTORDIR@|$(CONNECTORDIR)|; s|@VERSION@|$(VERSION)|' \
		config/sluice.pc.in > $(DESTDIR)$(PREFIX)/share/pkgconfig/sluice.pc

install: all install-dev
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(CONNECTORDIR) \
		$(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man7 \
		$(DESTDIR)$(SYSCONFDIR)/sluice/mappings.d $(DESTDIR)$(PREFIX)/share/sluice/examples
	$(INSTALL) -m 755 $(B)/sluice $(DESTDIR)$(BINDIR)/sluice
	$(INSTALL) -m 755 $(B)/sluice-demo-kafka $(DESTDIR)$(dir $(CONNECTORDIR))sluice-demo-kafka
	$(INSTALL) -m 644 $(plugins) $(DESTDIR)$(CONNECTORDIR)
	$(INSTALL) -m 644 config/mappings.d/*.yaml $(DESTDIR)$(PREFIX)/share/sluice/examples
	$(INSTALL) -m 644 config/prometheus/sluice.rules.yaml $(DESTDIR)$(PREFIX)/share/sluice
	$(INSTALL) -m 644 config/grafana/sluice.json $(DESTDIR)$(PREFIX)/share/sluice/sluice-grafana.json
	$(INSTALL) -m 644 config/openapi.yaml $(DESTDIR)$(PREFIX)/share/sluice/sluice-openapi.yaml
	$(B)/sluice schema --connectors $(B)/connectors \
		> $(DESTDIR)$(PREFIX)/share/sluice/sluice-mapping.schema.json
	$(B)/sluice schema --connectors $(B)/connectors --service \
		> $(DESTDIR)$(PREFIX)/share/sluice/sluice.schema.json
	$(INSTALL) -d $(DESTDIR)$(UNITDIR) $(dir $(completions:%=$(DESTDIR)$(PREFIX)/share/%))
	$(INSTALL) -m 644 config/completion/sluice.bash $(DESTDIR)$(PREFIX)/share/$(word 1,$(completions))
	$(INSTALL) -m 644 config/completion/_sluice $(DESTDIR)$(PREFIX)/share/$(word 2,$(completions))
	$(INSTALL) -m 644 config/completion/sluice.fish $(DESTDIR)$(PREFIX)/share/$(word 3,$(completions))
	for unit in $(units_installed); do \
		sed -e 's|/usr/bin/|$(BINDIR)/|; s|/etc/sluice|$(SYSCONFDIR)/sluice|' \
			config/systemd/$$unit > $(DESTDIR)$(UNITDIR)/$$unit && \
		chmod 644 $(DESTDIR)$(UNITDIR)/$$unit || exit 1; done
	$(INSTALL) -d $(DESTDIR)$(CATALOGDIR)
	$(INSTALL) -m 644 config/journal/sluice.catalog $(DESTDIR)$(CATALOGDIR)/sluice.catalog
	test -e $(DESTDIR)$(SYSCONFDIR)/sluice/sluice.yaml || \
		$(INSTALL) -m 644 config/sluice.yaml $(DESTDIR)$(SYSCONFDIR)/sluice/sluice.yaml
	$(if $(man1),$(INSTALL) -m 644 $(man1) $(DESTDIR)$(MANDIR)/man1)
	$(if $(man5),$(INSTALL) -m 644 $(man5) $(DESTDIR)$(MANDIR)/man5)
	$(if $(man7),$(INSTALL) -m 644 $(man7) $(DESTDIR)$(MANDIR)/man7)

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/sluice $(DESTDIR)$(dir $(CONNECTORDIR))sluice-demo-kafka \
		$(completions:%=$(DESTDIR)$(PREFIX)/share/%) \
		$(addprefix $(DESTDIR)$(PREFIX)/share/sluice/,sluice-mapping.schema.json sluice.schema.json \
			sluice.rules.yaml sluice-grafana.json sluice-openapi.yaml) \
		$(addprefix $(DESTDIR)$(UNITDIR)/,$(units_installed)) \
		$(DESTDIR)$(CATALOGDIR)/sluice.catalog \
		$(plugins:$(B)/connectors/%=$(DESTDIR)$(CONNECTORDIR)/%) \
		$(patsubst include/%,$(DESTDIR)$(PREFIX)/include/%,$(wildcard include/sluice/*.h)) \
		$(DESTDIR)$(PREFIX)/share/pkgconfig/sluice.pc \
		$(patsubst src/%,$(DESTDIR)$(MANDIR)/man1/%,$(man1)) \
		$(patsubst src/%,$(DESTDIR)$(MANDIR)/man5/%,$(man5)) \
		$(addprefix $(DESTDIR)$(MANDIR)/man7/,$(notdir $(man7)))

help:
	@sed -n '/^#/{s/^# \{0,1\}//;p};/^$$/q' Makefile

deps:
	@tests/dependencies build

clean:
	rm -rf build

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
