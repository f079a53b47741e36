# shellcheck shell=bash
# The programs of the last version, which have to work beside those of this one while a system is upgraded
# (`tests/src/faults/upgrade.rs`). They are built once, from the history of this repository, and found by
# `TEST_LAST_VERSION`, a folder; whoever has them already may set it.

# The version that is out there. Whoever releases the next one puts its commit here.
last_version=267d60a710cc4d54d00deeb6699c426ac9aca461

provide_last_version() {
    local folder=$target/last-version/$last_version
    [[ -z ${TEST_LAST_VERSION:-} ]] || return 0
    if [[ ! -x $folder/bin/export-worker ]]; then
        has_last_version || fail "the last version ($last_version) is not in this clone: 'git fetch --unshallow' brings \
it; or name a folder with its programs in TEST_LAST_VERSION"
        echo "building the last version, $last_version"
        build_last_version "$folder"
    fi
    export TEST_LAST_VERSION=$folder/bin
}

has_last_version() {
    git cat-file -e "$last_version^{commit}" 2>/dev/null || git fetch --quiet --depth 1 origin "$last_version" 2>/dev/null
}

# In the same target folder, where most of what both versions need is built already or will be needed again.
build_last_version() {
    local folder=$1
    rm -rf "$folder" && mkdir -p "$folder/source" "$folder/bin.new"
    git archive "$last_version" | tar -x -C "$folder/source"
    cargo build --manifest-path "$folder/source/Cargo.toml" --target-dir "$target" --locked -p api-service -p export-worker
    cp "$target/debug/api-service" "$target/debug/export-worker" "$folder/bin.new"
    rm -rf "$folder/source" && mv "$folder/bin.new" "$folder/bin"
}
