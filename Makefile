# What there is to do here; `make` alone lists it. Each target installs what it needs on a fresh Debian machine.

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test chaos bench lint fuzz

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the servers that tests and demo run privately (Debian packages; nothing is left running)
	@tests/servers/setup.sh

demo: setup ## watch real mail travel in and out; ONCE=1 ends after the summary
	cargo build --workspace --bins --locked
	@LOCKSTEP_NO_BUILD=1 $${CARGO_TARGET_DIR:-target}/debug/demo $(if $(ONCE),--once)

dev: setup ## run the servers alone and print a configuration that leads to them (also in .data/dev.toml)
	cargo run --quiet --locked -p lockstep-servers --bin dev -- .data/dev.toml

test: setup ## run every test, against real servers
	cargo build --workspace --bins --locked
	cargo test --workspace --locked

chaos: setup ## break everything that can break, at named places and at random; SECONDS=1200 SEED=1
	@tests/chaos/setup.sh
	cargo build --workspace --bins --locked
	@LOCKSTEP_NO_BUILD=1 $${CARGO_TARGET_DIR:-target}/debug/chaos $(or $(SECONDS),1200) $(SEED)

bench: setup ## measure beside ceilings and peers into target/bench/results.json; BENCH="incoming" for one of them
	@tests/bench/setup.sh
	cargo build --release --workspace --bins --locked
	@$${CARGO_TARGET_DIR:-target}/release/bench $(BENCH)

lint: setup ## formatting, clippy, documentation, dependencies; every warning is an error
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources && \
	if cargo deny fetch db 2>/dev/null; then cargo deny check --disable-fetch advisories; \
	else echo "lint: the database of advisories is out of reach, so it was not asked"; fi; \
	else echo "lint: cargo-deny is not installed, so deny.toml was not checked (cargo install --locked cargo-deny)"; fi

fuzz: ## break messages and servers' answers at random and look what becomes of them; FROM=0 CASES=1000000
	cargo run --quiet --release --locked -p lockstep-mail --example fuzz -- $(or $(FROM),0) $(or $(CASES),1000000)
	cargo run --quiet --release --locked -p lockstep-mail --example fuzz -- $(or $(FROM),0) $(or $(CASES),100000) pop3
	cargo run --quiet --release --locked -p lockstep-mail --example fuzz -- $(or $(FROM),0) $(or $(CASES),100000) smtp
