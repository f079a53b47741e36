# shellcheck shell=bash
# The tools of the tests: programs that are run and end. Each is used where its variable says; else from the PATH; else it is
# fetched into the target folder, if that may be done here; else it is said how to get it.
#
# A tool has a row in these tables and a function NAME_fetch, which brings it to the place that is its argument.
declare -A tool_variables=([promtool]=TEST_PROMTOOL)
declare -A tool_way_out=([promtool]='apt-get install --no-install-recommends prometheus')

provide_tools() {
    local tool lacks=no
    for tool in "${!tool_variables[@]}"; do
        provide_tool "$tool" || lacks=yes
    done
    [[ $lacks == no ]] || exit 1
}

provide_tool() {
    local tool=$1 variable=${tool_variables[$1]} fetched=$target/tools/$1/bin/$1
    local given=${!variable:-} found
    if [[ $given ]]; then
        found=$(command -v "$given") || fail "$tool: $variable=$given is no program"
    elif ! found=$(command -v "$tool" || command -v "$fetched"); then
        echo "$tool: not here, fetching it"
        mkdir -p "${fetched%/*}"
        if ! "${tool}_fetch" "$fetched" &>"$folder/$tool.log" || ! found=$(command -v "$fetched"); then
            tail -n 1 "$folder/$tool.log" >&2
            echo "$tool: not here, and could not be fetched. Get it with: ${tool_way_out[$tool]}; or set $variable to it" >&2
            return 1
        fi
    fi
    export "$variable=$found"
    echo "$tool: using $found"
}

# Out of its package, which would start a Prometheus where it was installed.
promtool_fetch() {
    local unpacked=$folder/promtool
    mkdir "$unpacked"
    (cd "$unpacked" && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; }) &&
        dpkg-deb -x "$unpacked"/prometheus_*.deb "$unpacked" && cp "$unpacked/usr/bin/promtool" "$1"
}
