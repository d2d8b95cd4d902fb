using KvPrune.Benchmarks.Measuring;

namespace KvPrune.Benchmarks.Attention;

/// <summary>One implementation of attention over a filled cache.</summary>
internal interface IContestant : IDisposable
{
    /// <summary>Bytes of the cache, of which one step reads nearly all.</summary>
    long CacheBytes { get; }

    /// <summary>The last step's output, [new tokens, query heads × head size].</summary>
    ReadOnlyMemory<float> Output { get; }

    /// <summary>Reads the new tokens over the whole past and leaves the cache as it was. Returns the time of the runs alone.</summary>
    TimeSpan Step(RunClock clock);
}
