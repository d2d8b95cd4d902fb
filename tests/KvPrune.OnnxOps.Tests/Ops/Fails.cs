using Microsoft.ML.OnnxRuntime;

namespace KvPrune.OnnxOps.Tests.Ops;

internal static class Fails
{
    /// <summary>A cache call fails with this status and a message that holds every text.</summary>
    public static void With(KvCacheStatus status, Action call, params string[] named) =>
        Check(Assert.Throws<KvCacheException>(call), status, named);

    /// <summary>A session run fails in the operator, with this status behind ONNX Runtime's exception.</summary>
    public static void Run(KvCacheStatus status, Action run, params string[] named)
    {
        var failure = Assert.Throws<OnnxRuntimeException>(run);
        var translated = KvCacheException.FromRun(failure);
        Assert.NotNull(translated);
        Assert.Same(failure, translated.InnerException);
        Check(translated, status, named);
    }

    private static void Check(KvCacheException failure, KvCacheStatus status, string[] named)
    {
        Assert.Equal(status, failure.Status);
        Assert.All(named, text => Assert.Contains(text, failure.Message, StringComparison.Ordinal));
    }
}
