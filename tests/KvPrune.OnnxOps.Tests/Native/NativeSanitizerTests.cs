using System.ComponentModel;
using System.Diagnostics;
using System.Reflection;

namespace KvPrune.OnnxOps.Tests.Native;

/// <summary>Builds tests/native with AddressSanitizer and UndefinedBehaviorSanitizer and runs it.</summary>
public sealed class NativeSanitizerTests
{
    private const string Requirements =
        "the native tests need cmake, a C++ compiler and GoogleTest: on Debian or Ubuntu, 'apt-get install cmake g++ make libgtest-dev'";

    [Fact]
    public async Task Native_tests_pass_under_sanitizers()
    {
        var source = Path.Combine(Metadata("RepositoryRoot"), "tests", "native");
        var build = Metadata("NativeTestsBuildFolder");

        await Run("cmake", ["-S", source, "-B", build]);
        await Run("cmake", ["--build", build, "--parallel", $"{Environment.ProcessorCount}"]);
        await Run(Path.Combine(build, "kvprune_native_tests"), ["--gtest_brief=1"]);
    }

    private static string Metadata(string key) =>
        typeof(NativeSanitizerTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == key).Value!;

    private static async Task Run(string program, IEnumerable<string> arguments)
    {
        var cancellation = TestContext.Current.CancellationToken;
        using var process = new Process
        {
            StartInfo = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true },
        };
        try
        {
            process.Start();
        }
        catch (Win32Exception e)
        {
            Assert.Fail($"{program} could not be started ({e.Message}); {Requirements}.");
        }

        try
        {
            var output = process.StandardOutput.ReadToEndAsync(cancellation);
            var errors = process.StandardError.ReadToEndAsync(cancellation);
            await process.WaitForExitAsync(cancellation);
            Assert.True(
                process.ExitCode == 0,
                $"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}:\n{await output}\n{await errors}");
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }
}
