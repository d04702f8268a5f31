# The small programs that the node agent embeds: `make helpers` builds those whose
# sources changed. They hold no version, so that a commit does not change them.
HELPERS_DIR := nodeagent/runtime/bin
HELPERS     := $(addprefix $(HELPERS_DIR)/,coracle-shim coracle-hold coracle-cni runc)
HELPER_CC   ?= gcc
HELPER_CFLAGS := -static -Os -s -Wall -Wextra -Werror -fno-asynchronous-unwind-tables

.PHONY: helpers
helpers: $(HELPERS) ## Build the programs that are embedded in the node agent

$(HELPERS_DIR)/coracle-shim: $(wildcard cmd/coracle-shim/*.go) go.mod
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w' -o $@ ./cmd/coracle-shim

# cgo is for the part of runc that runs before Go does; libseccomp is linked in, so
# that a node needs no libraries.
$(HELPERS_DIR)/runc: go.mod
	CGO_ENABLED=1 $(GO) build -trimpath -buildvcs=false -tags 'seccomp netgo osusergo' \
		-ldflags '-s -w -linkmode external -extldflags "-static"' -o $@ github.com/opencontainers/runc

$(HELPERS_DIR)/coracle-%: cmd/coracle-%/*.c
	$(HELPER_CC) $(HELPER_CFLAGS) -o $@ $^
