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

    /// <summary>IEEE 754 half precision, 2 bytes a value, rounded to nearest even; from 65520 on infinite. The dense tail too.</summary>
    Float16 = 3,

    /// <summary>
    /// 4-bit integers as in KIVI (arXiv 2402.02750), about 0.6 bytes a value: evenly spaced between the least and the
    /// largest value of a group, with two bfloat16 numbers a group. A group of K is one channel of 64 consecutive tokens, a
    /// group of V 64 channels of one token. Where elements are removed from rows, the others are integers in [-7, 7] with
    /// one bfloat16 scale per row of one head, for K and V.
    /// </summary>
    Int4 = 4,
}
#pragma warning restore CA1720
