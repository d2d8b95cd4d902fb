namespace KvPrune.OnnxOps;

#pragma warning disable CA1720 // The members are the storage formats' own names.
/// <summary>How sealed rows of K or V are stored.</summary>
public enum KvStorage
{
    /// <summary>32-bit floating point, 4 bytes a value. The dense tail is 32-bit too.</summary>
    Float32 = 0,

    /// <summary>bfloat16, 2 bytes a value, rounded to nearest even.</summary>
    BFloat16 = 1,

    /// <summary>8-bit integers in [-127, 127] with one bfloat16 scale per row of one head.</summary>
    Int8 = 2,
}
#pragma warning restore CA1720
