#!/bin/sh
# Measures a three-node region of Mimir beside three nodes of etcd, in turn, on this machine.
#
#   bench/beside-etcd.sh ETCD [flags of mimir bench]
#
# ETCD is an etcd 3.7 binary. MIMIR is a mimir binary (default: built from this tree). WORK is an empty or new directory on the disk
# to be measured (default: one under TMPDIR, removed afterwards). Set A is Mimir, set B is etcd.
set -eu

[ $# -ge 1 ] || { echo "usage: $0 ETCD [flags of mimir bench]" >&2; exit 2; }
etcd=$1
shift
[ -x "$etcd" ] || { echo "$0: $etcd is not a program" >&2; exit 2; }

work=${WORK:-}
remove=
[ -n "$work" ] || { work=$(mktemp -d) && remove=$work; }
mkdir -p "$work"
work=$(cd "$work" && pwd)
pids=

finish() {
	trap - EXIT INT TERM
	for pid in $pids; do kill "$pid" 2>/dev/null || true; done
	for pid in $pids; do wait "$pid" 2>/dev/null || true; done
	[ -z "$remove" ] || rm -rf "$remove"
}
trap finish EXIT
trap 'exit 1' INT TERM

mimir=${MIMIR:-}
if [ -z "$mimir" ]; then
	mimir=$work/mimir
	(cd "$(dirname "$0")/.." && go build -o "$mimir" ./cmd/mimir)
fi

# Mimir first: it looks for free ports by itself and says which it took.
"$mimir" dev --regions here --nodes 3 --data-dir "$work/fleet" >"$work/mimir.log" 2>&1 &
pids=$!
tries=0
until grep -q 'are ready' "$work/mimir.log"; do
	tries=$((tries + 1))
	if [ $tries -gt 300 ] || ! kill -0 "$pids" 2>/dev/null; then
		echo "$0: mimir dev did not get ready:" >&2
		cat "$work/mimir.log" >&2
		exit 1
	fi
	sleep 0.2
done
a=$(sed -n 's/.*"client": "\(.*\)".*/\1/p' "$work/fleet/fleet.json" | paste -sd, -)

# etcd's six ports begin at ETCD_PORT.
port=${ETCD_PORT:-12379}
peers= b=
for i in 0 1 2; do
	peers=$peers${peers:+,}e$i=http://127.0.0.1:$((port + 10 * i + 1))
	b=$b${b:+,}127.0.0.1:$((port + 10 * i))
done
for i in 0 1 2; do
	"$etcd" --name e$i --data-dir "$work/e$i" --log-level error --initial-cluster "$peers" \
		--listen-client-urls "http://127.0.0.1:$((port + 10 * i))" --advertise-client-urls "http://127.0.0.1:$((port + 10 * i))" \
		--listen-peer-urls "http://127.0.0.1:$((port + 10 * i + 1))" --initial-advertise-peer-urls "http://127.0.0.1:$((port + 10 * i + 1))" \
		>"$work/e$i.log" 2>&1 &
	pids="$pids $!"
done
tries=0
for i in 0 1 2; do
	until curl -sf -o /dev/null "http://127.0.0.1:$((port + 10 * i))/health"; do
		tries=$((tries + 1))
		if [ $tries -gt 300 ]; then
			echo "$0: etcd did not get ready:" >&2
			tail -n 3 "$work"/e?.log >&2
			exit 1
		fi
		sleep 0.2
	done
done
for pid in $pids; do
	kill -0 "$pid" 2>/dev/null || {
		echo "$0: a node ended; is a port from $port on in use? ETCD_PORT sets another" >&2
		tail -n 3 "$work"/e?.log >&2
		exit 1
	}
done

"$mimir" bench --endpoints "$a" --compare-endpoints "$b" "$@"
