using Microsoft.Extensions.Logging;

namespace KvPrune.AI.Engine;

internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "Model {Model} loaded from {Folder} in {Milliseconds:F0} ms by the runtime {Runtime} ({Kernels} kernels), which {Limits}")]
    public static partial void ModelLoaded(
        ILogger logger, string model, string folder, double milliseconds, DecoderRuntimeKind runtime, string kernels, string limits);

    [LoggerMessage(2, LogLevel.Warning, "A request {What}")]
    public static partial void RequestFailed(ILogger logger, string what, Exception error);

    [LoggerMessage(3, LogLevel.Debug, "A prompt was not kept for reuse: no memory for a copy of its dense tail")]
    public static partial void PromptNotKept(ILogger logger, Exception error);

    [LoggerMessage(4, LogLevel.Critical, "The engine stopped after an internal error")]
    public static partial void LoopFailed(ILogger logger, Exception error);

    [LoggerMessage(5, LogLevel.Warning, "genai_config.json of {Folder} asks for what is not supported and is left out: {Settings}")]
    public static partial void SettingsIgnored(ILogger logger, string folder, string settings);

    [LoggerMessage(6, LogLevel.Warning, "The runtime GenAI is chosen for {Folder}: {Reason}")]
    public static partial void GenAIChosen(ILogger logger, string folder, string reason);
}
