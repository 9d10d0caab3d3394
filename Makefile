# Every target installs what it misses and then calls one script.
.PHONY: demo test test-v2 bench fmt install package

demo:
	scripts/demo.sh

test:
	scripts/test.sh

test-v2:
	scripts/test-v2.sh

bench:
	scripts/bench.sh

fmt:
	cargo fmt --all

install:
	scripts/install.sh

package:
	scripts/package.sh
