using System.Security.Cryptography;
using System.Text.Json;
using KvPrune.OnnxOps;

namespace KvPrune.Eval.Methods;

/// <summary>A policy under a name.</summary>
/// <param name="Name">What the command line and the results call it.</param>
/// <param name="Family">Methods that differ in how far they go; one line of a plot.</param>
/// <param name="Policy">What it does to the cache.</param>
internal sealed record Method(string Name, string Family, PruningPolicy Policy)
{
    /// <summary>Changes with the policy, so that results of another policy under the same name are not taken for this one's.</summary>
    public string Fingerprint => Convert.ToHexStringLower(SHA256.HashData(JsonSerializer.SerializeToUtf8Bytes(Policy)))[..8];
}
