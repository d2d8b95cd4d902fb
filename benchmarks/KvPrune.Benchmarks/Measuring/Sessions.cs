using Microsoft.ML.OnnxRuntime;

namespace KvPrune.Benchmarks.Measuring;

/// <summary>Session options that are equal for every contestant.</summary>
internal static class Sessions
{
    /// <param name="threads">Threads of one operator; 0: one per core.</param>
    public static SessionOptions Options(int threads) => new()
    {
        IntraOpNumThreads = threads,
        InterOpNumThreads = 1,
        ExecutionMode = ExecutionMode.ORT_SEQUENTIAL,
        LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
    };
}
