namespace KvPrune.OnnxOps;

/// <summary>Why a cache operation failed. The values are those of the native library's status codes.</summary>
public enum KvCacheStatus
{
    /// <summary>No failure.</summary>
    None = 0,

    /// <summary>An argument is outside what the call accepts.</summary>
    InvalidArgument = 1,

    /// <summary>The sequence was released, or never existed.</summary>
    StaleHandle = 2,

    /// <summary>The sequence takes part in an open step, or a run of the graph uses it.</summary>
    Busy = 3,

    /// <summary>The manager's byte limit or the machine's memory is reached.</summary>
    OutOfMemory = 4,

    /// <summary>The call does not fit the sequence's state.</summary>
    InvalidState = 5,

    /// <summary>The graph's lengths differ from the sequence's.</summary>
    LengthMismatch = 6,

    /// <summary>The length is neither a checkpoint nor inside the dense tail.</summary>
    NotRewindable = 7,

    /// <summary>This machine or this build cannot do it.</summary>
    Unsupported = 8,

    /// <summary>A defect of the library.</summary>
    InternalError = 9,
}
