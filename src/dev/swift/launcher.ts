/**
 * The program that runs Swift: its four servers, unchanged, in one Python process, since four would each spend a second on the same imports.
 * Given in `argv`: the folder of the unpacked modules, and a folder for everything that Swift writes. Given on stdin: one line of JSON
 * `{account, user, secret, bucket}`; when stdin ends, it ends. Answers with one line of JSON `{proxy, container}`: ports on 127.0.0.1.
 */
export const SWIFT_LAUNCHER = `
import sys
modules, work = sys.argv[1:]
sys.path.insert(0, modules)
import json, os, socket, time
os.environ['TZ'] = 'UTC+0'
time.tzset()
wanted = json.loads(sys.stdin.readline())
import _thread
def end_with_stdin():
    while os.read(0, 4096):
        pass
    os._exit(0)
_thread.start_new_thread(end_with_stdin, ())

import eventlet
from eventlet import wsgi
from swift.common import utils
with open(work + '/swift.conf', 'w') as f:
    f.write('[swift-hash]\\nswift_hash_path_suffix = quorate\\n[storage-policy:0]\\nname = only\\ndefault = yes\\n')
utils.set_swift_dir(work)
utils.validate_configuration()
eventlet.hubs.use_hub(utils.get_hub())
utils.eventlet_monkey_patch()
utils.FALLOCATE_RESERVE, utils.FALLOCATE_IS_PERCENT = 0, False
utils.disable_fallocate()
from swift.common import storage_policy
storage_policy.reload_storage_policies()
from swift.common.ring import RingBuilder
from swift.common.wsgi import SwiftHttpProtocol, loadapp, make_pre_authed_request

class Memory(object):
    # What memcached would be: without it every request asks the account and the container again.
    def __init__(self):
        self.kept = {}
    def get(self, key, **_):
        value, until = self.kept.get(key, (None, 0))
        return value if until == 0 or until > time.time() else None
    def set(self, key, value, **wanted):
        life = wanted.get('time', 0)
        self.kept[key] = (json.loads(json.dumps(value)), time.time() + life if life else 0)
    def delete(self, key, **_):
        self.kept.pop(key, None)
memory = Memory()

common = '[DEFAULT]\\nswift_dir = %s\\ndevices = %s/devices\\nmount_check = false\\nuser = %s\\nbind_ip = 127.0.0.1\\nbind_port = 1\\nlog_address = %s/no-syslog\\n' % (work, work, os.getuid(), work)
pipeline = 'catch_errors gatekeeper s3api tempauth copy container-quotas slo versioned_writes symlink proxy-server'
os.makedirs(work + '/devices/one')
def write(name, text):
    with open('%s/%s.conf' % (work, name), 'w') as f:
        f.write(common + text)
write('proxy', '[pipeline:main]\\npipeline = %s\\n[app:proxy-server]\\nuse = egg:swift#proxy\\naccount_autocreate = true\\n' % pipeline
    + '[filter:tempauth]\\nuse = egg:swift#tempauth\\nuser_%s_%s = %s .admin\\n' % (wanted['account'], wanted['user'], wanted['secret'])
    + '[filter:s3api]\\nuse = egg:swift#s3api\\n[filter:versioned_writes]\\nuse = egg:swift#versioned_writes\\nallow_object_versioning = true\\n'
    + ''.join('[filter:%s]\\nuse = egg:swift#%s\\n' % (n, n.replace('-', '_')) for n in ('catch_errors', 'gatekeeper', 'copy', 'container-quotas', 'slo', 'symlink')))
for name in ('account', 'container', 'object'):
    write(name, '[pipeline:main]\\npipeline = %s-server\\n[app:%s-server]\\nuse = egg:swift#%s\\n' % (name, name, name))

sockets = {}
for name in ('account', 'container', 'object', 'proxy'):
    sockets[name] = eventlet.listen(('127.0.0.1', 0))
    sockets[name].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if name != 'proxy':
        builder = RingBuilder(0, 1, 0)
        builder.add_dev({'id': 0, 'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': sockets[name].getsockname()[1], 'device': 'one', 'weight': 1})
        builder.rebalance()
        builder.get_ring().save('%s/%s.ring.gz' % (work, name))

def serve(name, app):
    eventlet.spawn(wsgi.server, sockets[name], app, utils.NullLogger(), protocol=SwiftHttpProtocol, socket_timeout=60, capitalize_response_headers=False)
for name in ('account', 'container', 'object'):
    serve(name, loadapp('%s/%s.conf' % (work, name)))
proxy = loadapp(work + '/proxy.conf')
def remembering(env, start_response):
    env['swift.cache'] = memory
    return proxy(env, start_response)
serve('proxy', remembering)
made = make_pre_authed_request({'swift.cache': memory, 'REQUEST_METHOD': 'PUT', 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80'}, 'PUT', '/v1/AUTH_%s/%s' % (wanted['account'], wanted['bucket'])).get_response(proxy)
if made.status_int not in (201, 202):
    sys.exit('the bucket was not made: ' + made.status)
print(json.dumps({'proxy': sockets['proxy'].getsockname()[1], 'container': sockets['container'].getsockname()[1]}), flush=True)
while True:
    eventlet.sleep(3600)
`;
