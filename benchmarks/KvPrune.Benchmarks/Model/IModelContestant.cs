namespace KvPrune.Benchmarks.Model;

/// <summary>One way to run a whole model over one sequence, greedily.</summary>
internal interface IModelContestant : IDisposable
{
    string Name { get; }

    /// <summary>Bytes of the sequence's cache.</summary>
    long CacheBytes { get; }

    /// <summary>Announces the length of the prompt.</summary>
    void Begin(int promptTokens);

    /// <summary>Reads the next tokens of the prompt; draws the first answer token when it is read.</summary>
    void Read(ReadOnlySpan<int> chunk);

    /// <summary>Runs the token drawn last and returns the next one.</summary>
    int Step();
}
