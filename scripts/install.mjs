// Installs what is missing before `npm start`, `npm run serve`, `npm test` (--for-tests), `npm run test:browsers`
// (--for-browsers), `npm run test:keycloak` (--for-keycloak), `npm run test:routers` (--for-routers),
// `npm run test:providers` (--for-providers) and `npm run test:frameworks` (--for-frameworks). It runs before anything is installed, so it is plain JavaScript for any
// Node from 18 on, without dependencies.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const isWindows = process.platform === 'win32';

/**
 * What the tests need from the system. `variable` names a command in place of the ones in `anyOf`, of which one is enough;
 * `imports` are Python modules that must load; `packages` are the Debian packages that bring it, tried in turn.
 */
const systemNeeds = [
  {
    name: 'Chromium',
    variable: 'CHROMIUM_PATH',
    anyOf: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
    paths: [
      '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
      '/Applications/Chromium.app/Contents/MacOS/Chromium',
      'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
    ],
    packages: ['chromium', 'chromium-browser'],
    remedy: 'install Chromium or Chrome, or set CHROMIUM_PATH to its executable',
  },
  {
    name: 'Redis or Valkey',
    variable: 'REDIS_SERVER_PATH',
    anyOf: ['redis-server', 'valkey-server'],
    paths: ['/opt/homebrew/bin/redis-server', '/usr/local/bin/redis-server'],
    packages: ['redis-server', 'valkey-server'],
    remedy: 'install redis-server or valkey-server (for example `brew install valkey`), or set REDIS_SERVER_PATH',
  },
  {
    name: 'nginx',
    variable: 'NGINX_PATH',
    anyOf: ['nginx'],
    paths: ['/usr/sbin/nginx', '/opt/homebrew/bin/nginx'],
    packages: ['nginx-light', 'nginx'],
    remedy: 'install nginx, or set NGINX_PATH to its executable',
  },
];

/** What `npm run test:browsers` needs in addition. */
const browserNeeds = [
  {
    name: 'Firefox',
    variable: 'FIREFOX_PATH',
    anyOf: ['firefox-esr', 'firefox'],
    paths: ['/Applications/Firefox.app/Contents/MacOS/firefox', 'C:\\Program Files\\Mozilla Firefox\\firefox.exe'],
    packages: ['firefox-esr', 'firefox'],
    remedy: 'install Firefox, or set FIREFOX_PATH to its executable',
  },
];

/** What `npm run test:keycloak` needs in addition. */
const keycloakNeeds = [
  {
    name: 'Java',
    variable: 'JAVA_COMMAND',
    anyOf: ['java'],
    paths: [],
    packages: ['default-jre-headless'],
    remedy: 'install Java 17 or newer',
  },
  {
    name: 'Maven',
    variable: 'MAVEN_COMMAND',
    anyOf: ['mvn'],
    paths: [],
    packages: ['maven'],
    remedy: 'install Maven, or set KEYCLOAK_HOME to an unpacked Keycloak',
  },
];

/** What `npm run test:routers` needs. */
const routerNeeds = [
  {
    name: 'FastAPI and uvicorn',
    variable: 'PYTHON_COMMAND',
    anyOf: [],
    paths: [],
    imports: ['fastapi', 'uvicorn'],
    packages: ['python3-fastapi', 'python3-uvicorn'],
    remedy: 'install both for python3, or set PYTHON_COMMAND to a Python that has them',
  },
  {
    name: 'Go',
    variable: 'GO_COMMAND',
    anyOf: ['go'],
    paths: [],
    packages: ['golang-go'],
    remedy: 'install Go, or set GO_COMMAND to its executable',
  },
  {
    name: 'a Java compiler',
    variable: 'JAVAC_COMMAND',
    anyOf: ['javac'],
    paths: [],
    packages: ['default-jdk-headless'],
    remedy: 'install a JDK of Java 17 or newer',
  },
  ...keycloakNeeds.filter(({ name }) => name === 'Maven'),
];

/** What `npm run test:providers` needs. */
const providerNeeds = [
  {
    ...routerNeeds.find(({ name }) => name === 'Go'),
    remedy: 'install Go 1.26 or newer, or set GO_COMMAND to its executable',
  },
  {
    name: 'a C compiler',
    variable: 'CC',
    anyOf: ['cc', 'gcc', 'clang'],
    paths: [],
    packages: ['build-essential'],
    remedy: 'install gcc or clang',
  },
  {
    name: 'etcd',
    variable: 'ETCD_COMMAND',
    anyOf: ['etcd'],
    paths: [],
    packages: ['etcd-server'],
    remedy: 'install etcd, or set ETCD_COMMAND to its executable',
  },
  {
    name: 'pip',
    variable: 'PYTHON_COMMAND',
    anyOf: [],
    paths: [],
    imports: ['pip'],
    packages: ['python3-pip'],
    remedy: 'install pip for python3, or set PYTHON_COMMAND to a Python that has it',
  },
  ...routerNeeds.filter(({ name }) => ['a Java compiler', 'Maven'].includes(name)),
];

installNodePackages(root);
requireNode();
if (isWindows) allowExec();
if (process.argv.includes('--for-tests')) installSystemPackages(systemNeeds);
if (process.argv.includes('--for-browsers')) installSystemPackages(browserNeeds);
if (process.argv.includes('--for-keycloak')) installSystemPackages(keycloakNeeds);
if (process.argv.includes('--for-routers')) installSystemPackages(routerNeeds);
if (process.argv.includes('--for-providers')) installSystemPackages(providerNeeds);
if (process.argv.includes('--for-frameworks')) installNodePackages(join(root, 'test', 'frameworks'));

function installNodePackages(folder) {
  if (!isOutdated(folder)) return;
  report(`installing the npm packages (npm ci)${folder === root ? '' : ` of ${relative(root, folder)}`} …`);
  // Where a mirror lacks the binaries of other platforms, `npm ci` refuses the lock file as incomplete. `npm install
  // --no-save` installs the same versions and does not change the file.
  if (!npm(folder, 'ignore', 'ci') && !npm(folder, 'inherit', 'install', '--no-save')) {
    fail(`npm could not install the packages: see above, or run \`npm ci\` by hand in ${folder}.`);
  }
}

function requireNode() {
  const node = join(root, 'node_modules', 'node', 'bin', isWindows ? 'node.exe' : 'node');
  if (!existsSync(node)) {
    fail(
      `the package 'node' brought no binary for ${process.platform}-${process.arch}. ` +
        "Check that npm's settings leave install scripts and optional packages on (ignore-scripts=false, omit= ).",
    );
  }
}

/** `npm start` and `npm run serve` hand their process over to node, by a word that the shell of Windows doesn't have. */
function allowExec() {
  writeFileSync(join(root, 'node_modules', '.bin', 'exec.cmd'), '@%*\r\n');
}

/** npm records what it installed in node_modules/.package-lock.json; that must match package-lock.json. */
function isOutdated(folder) {
  const record = join(folder, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return true;
  const installed = lockedPackages(record);
  return Object.entries(lockedPackages(join(folder, 'package-lock.json'))).some(([path, wanted]) => {
    const found = installed[path];
    const mayBeAbsent = path === '' || wanted.optional || wanted.devOptional;
    return found ? found.version !== wanted.version || found.integrity !== wanted.integrity : !mayBeAbsent;
  });
}

function npm(folder, stdio, ...command) {
  const options = ['--no-audit', '--no-fund', '--loglevel=error', '--include=dev', '--include=optional'];
  return spawnSync('npm', [...command, ...options], { cwd: folder, stdio, shell: isWindows }).status === 0;
}

function lockedPackages(lockFile) {
  return JSON.parse(readFileSync(lockFile, 'utf8')).packages;
}

function installSystemPackages(needs) {
  const missing = needs.filter((need) => !isInstalled(need));
  if (missing.length === 0) return;
  const sudo = sudoPrefix();
  if (sudo === undefined || findCommand('apt-get') === undefined) failWithRemedies(missing);
  report(`installing ${missing.map((need) => need.name).join(' and ')} from the system's packages (apt-get) …`);
  run([...sudo, 'apt-get', 'update', '-qq']);
  for (const need of missing) {
    need.packages.some((name) => {
      run([
        ...sudo,
        'env',
        'DEBIAN_FRONTEND=noninteractive',
        'apt-get',
        'install',
        '-y',
        '-qq',
        '--no-install-recommends',
        name,
      ]);
      return isInstalled(need);
    });
  }
  const stillMissing = missing.filter((need) => !isInstalled(need));
  if (stillMissing.length > 0) failWithRemedies(stillMissing);
}

function isInstalled(need) {
  const named = process.env[need.variable];
  if (need.imports)
    return (named ? [named] : ['python3', '/usr/bin/python3']).some((python) => canImport(python, need));
  if (named) return isExecutable(named);
  return need.anyOf.some((command) => findCommand(command) !== undefined) || need.paths.some(isExecutable);
}

function canImport(python, need) {
  return spawnSync(python, ['-c', `import ${need.imports.join(', ')}`], { stdio: 'ignore' }).status === 0;
}

/** The words before apt-get; undefined if this user may not install packages. */
function sudoPrefix() {
  if (process.getuid?.() === 0) return [];
  const answer = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' });
  return answer.status === 0 ? ['sudo', '-n'] : undefined;
}

function findCommand(name) {
  const suffixes = isWindows ? ['.exe', '.cmd'] : [''];
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .flatMap((folder) => suffixes.map((suffix) => join(folder, name + suffix)))
    .find(isExecutable);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function run([command, ...args]) {
  return spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
}

function failWithRemedies(missing) {
  const lines = missing.map((need) => `  ${need.name}: ${need.remedy}`);
  const packages = missing.flatMap((need) => (need.imports ? need.packages : need.packages.slice(0, 1))).join(' ');
  fail(`the tests need:\n${lines.join('\n')}\nOn Debian and Ubuntu: sudo apt-get install ${packages}`);
}

/** On standard error, because `npm run --silent keygen` prints nothing but the secret. */
function report(line) {
  process.stderr.write(`${line}\n`);
}

function fail(reason) {
  process.stderr.write(`${reason}\n`);
  process.exit(1);
}
