using Microsoft.Extensions.Options;

namespace KvPrune.AI.DependencyInjection;

/// <summary>Checks everything that can be checked without loading the model, and reports all of it at once.</summary>
internal sealed class KvPruneOptionsValidator : IValidateOptions<KvPruneOptions>
{
    public ValidateOptionsResult Validate(string? name, KvPruneOptions options)
    {
        string[] problems = [.. Problems(options)];
        return problems.Length == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(problems);
    }

    public static IEnumerable<string> Problems(KvPruneOptions options)
    {
        if (string.IsNullOrWhiteSpace(options.ModelPath))
            yield return "ModelPath is not set: it must name a model folder.";
        else if (!Directory.Exists(options.ModelPath))
            yield return $"ModelPath names a folder that does not exist: {Path.GetFullPath(options.ModelPath)}";
        if (!Enum.IsDefined(options.Runtime))
            yield return $"Runtime is {options.Runtime}; it must be Auto, OnnxRuntime or GenAI.";
        if (options.GenAILibraryFolder is { } library && !Directory.Exists(library))
            yield return $"GenAILibraryFolder names a folder that does not exist: {library}";
        if (options.Policy is null)
            yield return "Policy is null.";
        else if (PolicyProblem(options) is { } problem)
            yield return $"Policy cannot be used: {problem}";
        if (options.KvCacheByteLimit is <= 0)
            yield return $"KvCacheByteLimit is {options.KvCacheByteLimit}; it must be positive, or null for no limit.";
        if (options.PrefillChunkTokens < 1)
            yield return $"PrefillChunkTokens is {options.PrefillChunkTokens}; it must be at least 1.";
        if (options.MaxOutputTokens < 1)
            yield return $"MaxOutputTokens is {options.MaxOutputTokens}; it must be at least 1.";
        if (options.Threads is < 1)
            yield return $"Threads is {options.Threads}; it must be at least 1, or null for ONNX Runtime's choice.";
        if (options.MaxCachedPrompts < 0)
            yield return $"MaxCachedPrompts is {options.MaxCachedPrompts}; it must be at least 0.";
    }

    private static string? PolicyProblem(KvPruneOptions options)
    {
        try
        {
            options.Policy.Validate();
            return null;
        }
        catch (ArgumentException error)
        {
            return error.Message;
        }
    }
}
