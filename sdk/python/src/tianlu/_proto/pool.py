"""The descriptor pool of Tianlu's stubs, apart from protobuf's default one.

Other etcd clients register the same message names in the default pool; two different files with
one name there abort the import. A pool of our own lets both live in one process.
"""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
