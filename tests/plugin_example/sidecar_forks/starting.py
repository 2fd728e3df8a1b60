import os

import window  # comes with ebpf-sidecar: says when to start, and takes the numbers


def children(path, size, step):
    for _ in range(23):
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
    return {"started": 23}


window.main({"children": children})
