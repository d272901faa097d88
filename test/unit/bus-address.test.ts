import { describe, expect, test } from "bun:test";
import { brokerSocketPath, clientSocketPaths, userSocketPath } from "../../src/bus-address.ts";

const SYSTEM = "/run/seqbus/bus.sock";

describe("clientSocketPaths()", () => {
  test.each([
    [{}, [SYSTEM]],
    [{ XDG_RUNTIME_DIR: "/run/user/7" }, ["/run/user/7/seqbus/bus.sock", SYSTEM]],
    [{ XDG_RUNTIME_DIR: "" }, [SYSTEM]],
    [{ XDG_RUNTIME_DIR: "/run/user/7", SEQBUS_SOCKET: "/tmp/mine" }, ["/tmp/mine"]],
    [{ SEQBUS_SOCKET: "" }, [SYSTEM]],
  ])("with %j gives %j", (environment, paths) => {
    expect(clientSocketPaths(environment)).toEqual(paths);
  });
});

describe("brokerSocketPath()", () => {
  test.each([
    [{ SEQBUS_SOCKET: "/tmp/mine", XDG_RUNTIME_DIR: "/run/user/7" }, 7, "/tmp/mine"],
    [{ XDG_RUNTIME_DIR: "/run/user/7" }, 7, "/run/user/7/seqbus/bus.sock"],
    [{ XDG_RUNTIME_DIR: "/run/user/0" }, 0, SYSTEM],
    [{}, 7, undefined],
  ])("with %j for uid %d gives %j", (environment, uid, path) => {
    expect(brokerSocketPath(environment, uid)).toBe(path);
  });
});

describe("userSocketPath()", () => {
  test("is undefined in a session without XDG_RUNTIME_DIR", () => {
    expect(userSocketPath({})).toBeUndefined();
  });
});
