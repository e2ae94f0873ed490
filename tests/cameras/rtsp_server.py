# mypy: ignore-errors
"""An RTSP server whose pictures say which frame they are. Run by the system's Python: GStreamer's bindings live there.

    /usr/bin/python3 rtsp_server.py [--port N] [--login USER:PASSWORD] [--size WxH] [--fps N] [--gop N]
        [--codec h264|mjpeg]

Prints `port N` once it listens. Reads commands from standard input, one a line: `stall` (no more pictures, connections
stay), `go on`, `size WxH` (from the next picture on), `quit`.
Each picture has 24 blocks of 32x32 px, 8 a row, dark for 0 and bright for 1: the frame's number, highest bit first.
"""

from __future__ import annotations

import argparse
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
gi.require_version("GstRtsp", "1.0")

from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

BLOCK_PX = 32
COLUMNS = 8
BITS = 24
ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=2000 key-int-max={gop}"
    " ! rtph264pay name=pay0 pt=96 config-interval=1",
    "mjpeg": "jpegenc quality=90 ! rtpjpegpay name=pay0 pt=26",
}


def picture(number: int, width: int, height: int) -> bytes:
    """One GRAY8 picture."""
    rows = []
    for first in range(0, BITS, COLUMNS):
        bits = [number >> (BITS - 1 - bit) & 1 for bit in range(first, first + COLUMNS)]
        line = b"".join(bytes([235 if bit else 16]) * BLOCK_PX for bit in bits)
        rows.append((line + bytes([128]) * (width - len(line))) * BLOCK_PX)
    painted = b"".join(rows)
    return painted + bytes([128]) * (width * height - len(painted))


class Camera:
    """What all media of the server show."""

    def __init__(self, width: int, height: int, fps: int) -> None:
        self.width, self.height, self.fps = width, height, fps
        self.flowing = threading.Event()
        self.flowing.set()

    def caps(self) -> Gst.Caps:
        return Gst.Caps.from_string(
            f"video/x-raw,format=GRAY8,width={self.width},height={self.height},framerate={self.fps}/1"
        )


class Media(GstRtspServer.RTSPMediaFactory):
    """One appsrc for each client session's media, shared by all clients."""

    def __init__(self, camera: Camera, codec: str, gop: int) -> None:
        super().__init__()
        self.camera = camera
        self.set_shared(True)
        self.set_launch(
            "( appsrc name=source is-live=true format=time do-timestamp=true max-bytes=4000000"
            f" ! videoconvert ! video/x-raw,format=I420 ! {ENCODERS[codec].format(gop=gop)} )"
        )

    def do_configure(self, media: GstRtspServer.RTSPMedia) -> None:
        GstRtspServer.RTSPMediaFactory.do_configure(self, media)
        source = media.get_element().get_child_by_name("source")
        source.set_property("caps", self.camera.caps())
        state = {"number": 0, "size": (self.camera.width, self.camera.height)}

        def push() -> bool:
            if not self.camera.flowing.is_set():
                return True
            size = self.camera.width, self.camera.height
            if size != state["size"]:
                state["size"] = size
                source.set_property("caps", self.camera.caps())
            buffer = Gst.Buffer.new_wrapped(picture(state["number"], *size))
            buffer.duration = Gst.SECOND // self.camera.fps
            state["number"] += 1
            return source.emit("push-buffer", buffer) == Gst.FlowReturn.OK

        GLib.timeout_add(1000 // self.camera.fps, push)


def guard(server: GstRtspServer.RTSPServer, factory: Media, login: str) -> None:
    """Ask for this user and password."""
    user, _, password = login.partition(":")
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", permission, True)  # noqa: FBT003
    factory.set_permissions(permissions)


def obey(camera: Camera, loop: GLib.MainLoop) -> None:
    for line in sys.stdin:
        words = line.split()
        if words == ["stall"]:
            camera.flowing.clear()
        elif words == ["go", "on"]:
            camera.flowing.set()
        elif words[:1] == ["size"]:
            width, _, height = words[1].partition("x")
            camera.width, camera.height = int(width), int(height)
        elif words == ["quit"]:
            break
    loop.quit()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0")
    parser.add_argument("--login", default="")
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--fps", type=int, default=10)
    parser.add_argument("--gop", type=int, default=15)
    parser.add_argument("--codec", choices=sorted(ENCODERS), default="h264")
    asked = parser.parse_args()
    Gst.init(None)
    width, _, height = asked.size.partition("x")
    camera = Camera(int(width), int(height), asked.fps)
    loop = GLib.MainLoop()
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(asked.port)
    factory = Media(camera, asked.codec, asked.gop)
    factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP)
    if asked.login:
        guard(server, factory, asked.login)
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    print(f"port {server.get_bound_port()}", flush=True)
    threading.Thread(target=obey, args=(camera, loop), daemon=True).start()
    loop.run()


if __name__ == "__main__":
    main()
