from ebpf_sidecar.pipeline import ComponentKind, Factory, hookimpl


class Tenths:
    def process(self, frames):
        return [frame.with_values(frame.values // 10) if frame.name == "ebpf.cache.misses" else frame for frame in frames]


@hookimpl
def register_components():
    return [Factory(ComponentKind.PROCESSOR, "tenths", lambda settings, context: Tenths())]
