namespace KvPrune.AI.Engine;

/// <summary>A request failed while it was computed. Other requests and the engine go on.</summary>
public sealed class GenerationException : Exception
{
    /// <summary>Creates the exception.</summary>
    public GenerationException(string message) : base(message) { }

    /// <summary>Creates the exception with its cause.</summary>
    public GenerationException(string message, Exception innerException) : base(message, innerException) { }
}
