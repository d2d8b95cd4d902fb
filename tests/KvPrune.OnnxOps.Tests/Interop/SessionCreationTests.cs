using System.Diagnostics;
using Google.Protobuf;
using KvPrune.OnnxOps.Tests.Graphs;
using Microsoft.ML.OnnxRuntime;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Interop;

public class SessionCreationTests
{
    [Fact]
    public async Task Sessions_are_created_at_the_same_moment()
    {
        const int Count = 8;
        var graph = new GraphBuilder();
        graph.Output("y", DataType.Float, 1);
        graph.Node("Identity", "y", [graph.Floats("x", [1], 1)]);
        var model = graph.Model.ToByteArray();
        using var start = new Barrier(Count);

        await Task.WhenAll(Enumerable.Range(0, Count).Select(_ => Task.Factory.StartNew(
            () =>
            {
                using var options = new SessionOptions();
                KvPruneOps.Register(options);
                start.SignalAndWait();
                using var session = new InferenceSession(model, options);
            },
            TestContext.Current.CancellationToken,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default)));
    }

    /// <summary>The operators' domain becomes known to ONNX Runtime once per process, so only a new one can show a race.</summary>
    [Fact]
    public async Task The_first_sessions_of_a_process_are_created_at_the_same_moment()
    {
        // Either dotnet, which takes the assembly, or the assembly's own host.
        var program = Environment.ProcessPath!;
        string[] arguments = ["--filter-method", $"*.{nameof(SessionCreationTests)}.{nameof(Sessions_are_created_at_the_same_moment)}"];
        if (Path.GetFileNameWithoutExtension(program) == "dotnet")
            arguments = [typeof(SessionCreationTests).Assembly.Location, .. arguments];
        for (int run = 0; run < 4; run++)
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            try
            {
                var output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
                var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
                await process.WaitForExitAsync(TestContext.Current.CancellationToken);
                Assert.True(process.ExitCode == 0, $"{await output}\n{await errors}");
            }
            finally
            {
                if (!process.HasExited)
                    process.Kill(entireProcessTree: true);
            }
        }
    }
}
