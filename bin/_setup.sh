# Shared by bin/up and bin/test: finds a usable Python and uv, and fills .venv. Sourced, not run.
# Every failure is one line on standard error and a non-zero exit; nothing is left half-started.

die() {
  printf 'tianlu: %s\n' "$1" >&2
  exit 1
}

as_root() {
  [ "$(id -u)" = 0 ]
}

apt_install() { # packages...
  as_root && command -v apt-get >/dev/null || return 1
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return 0
  apt-get update -qq >/dev/null 2>&1 &&
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1
}

# Prints "VERSION_OK SHARED_LIBRARY" of the Python given: whether it is new enough, and its libpython if there is one.
describe_python() {
  "$1" - 2>/dev/null <<'PYTHON'
import sys, sysconfig, pathlib, ctypes.util
new = (3, 11) <= sys.version_info[:2]
places = [sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LIBPL")]
multiarch = sysconfig.get_config_var("MULTIARCH")
places += [f"{place}/{multiarch}" for place in places[:1] if multiarch]
places += [f"/usr/lib/{multiarch}", f"/lib/{multiarch}"] if multiarch else []
names = [f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"]
found = [str(path) for place in places if place for name in names if (path := pathlib.Path(place, name)).exists()]
print("new" if new else "old", found[0] if found else "-", f"{sys.version_info[0]}.{sys.version_info[1]}")
PYTHON
}

# Where a Python is looked for, after $TIANLU_PYTHON; the first usable one is taken.
PYTHONS='python3 python3.11 python3.12 python3.13 /usr/bin/python3'

find_python() {
  local candidate description seen_new='' seen_old=''
  for candidate in ${TIANLU_PYTHON:-} $PYTHONS; do
    candidate=$(command -v "$candidate") || continue
    description=$(describe_python "$candidate") || continue
    case $description in
      "new -"*) seen_new=${seen_new:-$candidate} ;;
      new*) PYTHON=$candidate; return 0 ;;
      old*) seen_old="${description##* }" ;;
    esac
  done
  [ -n "$seen_new" ] || die "Python 3.11 or newer is needed${seen_old:+, found only $seen_old}; install it and try again"
  # A Python without its shared library: the registry runs Python inside Envoy, which loads that library.
  local version; version=$(describe_python "$seen_new"); version=${version##* }
  echo "tianlu: $seen_new has no shared libpython; installing libpython$version" >&2
  apt_install "libpython$version" ||
    die "$seen_new has no shared libpython; install the package libpython$version and try again"
  description=$(describe_python "$seen_new")
  case $description in
    "new -"*) die "$seen_new was built without a shared libpython; use one built with --enable-shared (TIANLU_PYTHON=PATH)" ;;
  esac
  PYTHON=$seen_new
}

find_uv() {
  UV=$(command -v uv) && return 0
  UV=$ROOT/.tools/bin/uv
  [ -x "$UV" ] && return 0
  "$PYTHON" -m pip --version >/dev/null 2>&1 ||
    apt_install python3-pip || die "pip is missing; install the package python3-pip and try again"
  # --target keeps off the system's own packages, and works where Debian guards them (PEP 668).
  "$PYTHON" -m pip install -q --disable-pip-version-check --target "$ROOT/.tools" uv >/dev/null 2>&1 ||
    die "cannot install uv with pip: is the package index reachable?"
}

# Fills .venv; its arguments go to `uv sync`.
sync_environment() {
  find_python
  find_uv
  [ -w "$ROOT" ] || [ -d "$ROOT/.venv" ] || die "$ROOT is not writable for this user"
  export UV_PYTHON_DOWNLOADS=never
  local log; log=$(mktemp)
  if ! "$UV" sync -q --project "$ROOT" --python "$PYTHON" "$@" 2>"$log"; then
    local reason; reason=$(grep -iE 'no space|denied|dns|connect|resolve|network|error' "$log" | tail -n 1)
    mv "$log" "${TMPDIR:-/tmp}/tianlu-setup.log" 2>/dev/null
    die "cannot install the needed packages (is the package index reachable?): ${reason:-unknown reason}; all of it is in ${TMPDIR:-/tmp}/tianlu-setup.log"
  fi
  rm -f "$log"
}

# Prints what compiling needs and this machine lacks, as Debian's packages; nothing if it can compile.
lacks_for_compiling() {
  local compiler headers
  { read -r compiler && read -r headers; } < <("$ROOT/.venv/bin/python" - <<'PYTHON'
import sysconfig
print((sysconfig.get_config_var("CC") or "cc").split()[0])
print(sysconfig.get_path("include"))
PYTHON
  )
  command -v "${CC:-$compiler}" >/dev/null || printf 'gcc '
  [ -f "$headers/Python.h" ] || printf 'python3-dev '
}

# Builds the registry's wheel once for these sources and this Python, and puts it in front of the
# sources for whatever this shell starts. Nothing that goes wrong here keeps the platform from
# starting: the sources run as they are, only slower. TIANLU_COMPILE=0 leaves all of it out.
use_compiled_cores() {
  [ "${TIANLU_COMPILE:-}" != 0 ] || return 0
  local lacks; lacks=$(lacks_for_compiling)
  if [ -n "$lacks" ]; then
    echo "tianlu: the registry runs interpreted; with ${lacks% } it would be compiled, and faster" >&2
    return 0
  fi
  local key place; key=$(cores_key) || return 0
  place=$ROOT/.tools/cores/$key
  [ -d "$place" ] || build_cores "$place" || return 0
  touch "$place"
  export PYTHONPATH="$place${PYTHONPATH:+:$PYTHONPATH}"
}

# Prints a digest of everything that the compiled wheel depends on.
cores_key() {
  (
    cd "$ROOT/registry" || exit 1
    {
      "$ROOT/.venv/bin/python" -VV
      find src pyproject.toml hatch_build.py compile_cores.py -type f \
        ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum | cut -c1-16
  )
}

build_cores() { # place
  local scratch log=${TMPDIR:-/tmp}/tianlu-compile.log
  mkdir -p "$ROOT/.tools/cores" && scratch=$(mktemp -d "$ROOT/.tools/cores/.building.XXXXXX") || return 1
  echo "tianlu: compiling the registry's cores, once (TIANLU_COMPILE=0 goes without)" >&2
  # One that ends early leaves no half-made directory under the name that counts.
  if TIANLU_COMPILE=1 "$UV" build -q --wheel --python "$ROOT/.venv/bin/python" \
    --out-dir "$scratch/wheel" "$ROOT/registry" >"$log" 2>&1 &&
    "$ROOT/.venv/bin/python" -m zipfile -e "$scratch"/wheel/*.whl "$scratch/cores" >>"$log" 2>&1 &&
    PYTHONPATH=$scratch/cores "$ROOT/.venv/bin/python" -c 'import tianlu_registry.engine.embedded' >>"$log" 2>&1 &&
    { mv -T "$scratch/cores" "$1" 2>>"$log" || [ -d "$1" ]; }; then  # another start was first
    # Those of other sources, but for the newest: a node that runs on one may still import from it.
    ls -1dt "$ROOT"/.tools/cores/*/ | tail -n +4 | xargs -r rm -rf
  else
    echo "tianlu: the registry's cores cannot be compiled, so they run interpreted; why is in $log" >&2
  fi
  rm -rf "$scratch"
  [ -d "$1" ]
}
