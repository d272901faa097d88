import { expect, test } from "bun:test";
import { ConfigError } from "../../../src/errors.ts";
import { libcNames } from "../../../src/ffi/libc.ts";
import { runFixture } from "./fixture-process.ts";

function refusal(platform: string, arch: string): unknown {
  try {
    return libcNames(platform, arch);
  } catch (error) {
    return error;
  }
}

test("libcNames() gives the glibc and the musl name of each architecture", () => {
  expect(libcNames("linux", "x64")).toEqual(["libc.so.6", "libc.musl-x86_64.so.1"]);
  expect(libcNames("linux", "arm64")).toEqual(["libc.so.6", "libc.musl-aarch64.so.1"]);
});

test.each([
  ["darwin", "arm64", "Cannot run on darwin: seqbus needs Linux"],
  ["win32", "x64", "Cannot run on win32: seqbus needs Linux"],
  ["linux", "riscv64", "Cannot run on riscv64: seqbus knows the C struct layouts of x64 and arm64"],
])("libcNames() refuses %s on %s with CONFIG_PLATFORM", (platform, arch, message) => {
  const error = refusal(platform, arch);
  expect(error).toBeInstanceOf(ConfigError);
  expect(error).toMatchObject({ code: "CONFIG_PLATFORM" });
  expect(String(error)).toContain(message);
});

test("libc.ts throws CONFIG_PLATFORM that names the JIT in a runtime without one", async () => {
  const { output } = await runFixture("no-jit-fixture.ts", [], { BUN_JSC_useJIT: "0" });
  expect(output).toMatchObject({ name: "ConfigError", code: "CONFIG_PLATFORM" });
  expect((output as { message: string }).message).toContain("bun:ffi requires the JIT");
});
