using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace KvPrune.Eval.Running;

/// <summary>Seeds that do not depend on what else is measured: a run with more samples or tasks contains a run with fewer.</summary>
internal static class Seeds
{
    public static int Of(int seed, string task, int length, int index) =>
        BinaryPrimitives.ReadInt32LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes(FormattableString.Invariant($"{seed}/{task}/{length}/{index}"))));
}
