#!/bin/sh
# Runs the rows of this pack, one after the other, and prints one line of JSON for each. Logs are in the folder `logs`.
# Needs no Rust and no network. With a GPU, LLAMA_TEST_DEVICE names it, for example CUDA0; otherwise the first one is used.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
export LD_LIBRARY_PATH="$here/bin${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
# The small models are written there, and the real one is read from there, if the pack has it.
export CARGO_TARGET_DIR="$here/written"
export LLAMA_TEST_MODELS="$here/models"
model="$here/models/SmolLM2-135M-Instruct.Q4_1.gguf"
mkdir -p "$here/logs" || exit 1
status=0

# Prints a line: row, result, and further members.
line() {
    printf '{"row":"%s","result":"%s"%s}\n' "$1" "$2" "$3"
}

# Runs tests: the name of the row, the most seconds, then the beginnings of their names.
tests() {
    row=$1 limit=$2
    shift 2
    log="$here/logs/$row.log"
    begin=$(date +%s)
    timeout "$limit" "$here/bin/it" --nocapture --test-threads 1 "$@" >"$log" 2>&1
    code=$?
    seconds=$(($(date +%s) - begin))
    count() { sed -n "s/^test result: .* \([0-9]*\) $1;.*/\1/p" "$log"; }
    passed=$(count passed) failed=$(count failed)
    # After the name of the test, in the same line.
    skipped=$(grep -c '\(^\| \)skipped: ' "$log")
    figures=",\"passed\":$((${passed:-0} - skipped)),\"failed\":${failed:-0},\"skipped\":$skipped,\"seconds\":$seconds"
    if [ "$code" -eq 124 ]; then
        status=1
        line "$row" "timed out" ",\"limit\":$limit"
    elif [ "$code" -ne 0 ]; then
        status=1
        line "$row" FAILED "$figures,\"exit\":$code"
    elif [ "${passed:-0}" -eq 0 ]; then
        status=1
        line "$row" FAILED ',"reason":"no test ran"'
    elif [ "$passed" -eq "$skipped" ]; then
        line "$row" skipped "$figures,\"reason\":\"there is no GPU\""
    else
        line "$row" run "$figures"
    fi
}

tests cpu 120 state_file:: control_vector:: embedding_input::
if "$here/bin/it" --list 2>/dev/null | grep -q '^no_driver::'; then
    tests no-driver 60 no_driver::
fi
tests layers 60 on_device::layers
tests decode 120 on_device::results::logits
tests generate 120 on_device::results::greedy
tests batch 60 on_device::batches
tests embeddings 60 on_device::results::embeddings
tests sampler 60 on_device::results::attached
tests adapter 60 on_device::results::adapters
tests state 120 on_device::states
tests out-of-memory 60 on_device::stops

if [ -f "$model" ]; then
    tests real-model 120 on_device::results::text_of_a_real_model
    if figures=$(timeout 120 "$here/bin/decode" --model "$model" --threads "$(nproc)" 2>"$here/logs/bench.log"); then
        line bench run ",\"model\":\"SmolLM2-135M Q4_1\",\"figures\":$figures"
    else
        status=1
        line bench FAILED ""
    fi
else
    line real-model skipped ',"reason":"the pack has no model"'
    line bench skipped ',"reason":"the pack has no model"'
fi
exit $status
