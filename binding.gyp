# The addon: build/Release/quorate.node. Built against the headers beside the running node (npm_config_nodedir), so that
# nothing is downloaded; libcrypto is the one that node itself exports, and its headers are node's.
{
  'targets': [{
    'target_name': 'quorate',
    'sources': ['<!@(node -p "[\'core\',\'plane\',\'addon\'].flatMap(d => require(\'fs\').readdirSync(\'native/\' + d).filter(f => f.endsWith(\'.cc\')).sort().map(f => \'native/\' + d + \'/\' + f)).join(\' \')")'],
    'include_dirs': ['native', '<!(node -p "require(\'node-addon-api\').include_dir")'],
    'defines': ['NAPI_VERSION=9', 'NAPI_CPP_EXCEPTIONS'],
    'cflags': ['-fvisibility=hidden', '-Wall', '-Wextra'],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
    'cflags_cc': ['-std=c++20'],
    'configurations': {'Release': {'cflags!': ['-O3'], 'cflags': ['-O2']}},
    'ldflags': ['-Wl,-z,relro,-z,now', '-Wl,--exclude-libs,ALL'],
  }],
}
