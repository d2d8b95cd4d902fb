namespace KvPrune.OnnxOps;

/// <summary>A model cannot be translated; the message names the file and the node, input or attribute.</summary>
public sealed class ModelRewriteException : Exception
{
    /// <summary>A model that cannot be translated.</summary>
    public ModelRewriteException(string message)
        : base(message)
    {
    }

    /// <summary>A model that cannot be read.</summary>
    public ModelRewriteException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
