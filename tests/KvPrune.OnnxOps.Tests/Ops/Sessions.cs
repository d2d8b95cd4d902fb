using Microsoft.ML.OnnxRuntime;

namespace KvPrune.OnnxOps.Tests.Ops;

internal static class Sessions
{
    public static InferenceSession Create(byte[] model)
    {
        using var options = new SessionOptions { IntraOpNumThreads = 2 };
        options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0");
        options.LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL;
        KvPruneOps.Register(options);
        return new InferenceSession(model, options);
    }
}
