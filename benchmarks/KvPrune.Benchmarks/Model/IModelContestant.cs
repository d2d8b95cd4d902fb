namespace KvPrune.Benchmarks.Model;

/// <summary>One way to run a whole model over one sequence, greedily.</summary>
internal interface IModelContestant : IDisposable
{
    string Name { get; }

    /// <summary>Bytes of the sequence's cache.</summary>
    long CacheBytes { get; }

    /// <summary>
    /// Drops the sequence and begins another, with nothing in it or with a given past. Returns the processor time, over all threads,
    /// that compressing the past took; null where none is compressed.
    /// </summary>
    TimeSpan? Start(FilledRows? past);

    /// <summary>Announces the tokens to <see cref="Read"/>.</summary>
    void Announce(int tokens);

    /// <summary>Reads the next tokens; draws the first answer token when all that were announced are read.</summary>
    void Read(ReadOnlySpan<int> chunk);

    /// <summary>Runs the token drawn last and returns the next one.</summary>
    int Step();
}
