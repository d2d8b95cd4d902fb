using KvPrune.AI.Models;
using KvPrune.OnnxOps;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.AI.Runtimes;

/// <summary>The inputs of a rewritten decoder graph, filled for one run at a time into memory that is kept.</summary>
internal sealed class DecoderInputs
{
    private enum Role { InputIds, AttentionMask, PositionIds, Handles }

    private readonly Role[] _roles;
    private readonly TensorBuffer<long>[] _buffers;

    /// <summary>Finds out which of the known inputs the graph wants.</summary>
    /// <exception cref="ModelFolderException">It wants one that is not known, or lacks a necessary one.</exception>
    public DecoderInputs(GenAIModelFolder folder, IReadOnlyList<string> graphInputs)
    {
        Role RoleOf(string name) =>
            name == folder.InputIdsName ? Role.InputIds
            : name == folder.AttentionMaskName ? Role.AttentionMask
            : name == folder.PositionIdsName ? Role.PositionIds
            : name == KvPruneOps.SequenceHandlesInput ? Role.Handles
            : throw new ModelFolderException(folder.ModelPath, name, "the graph has an input that is not supported.");
        Names = [.. graphInputs];
        _roles = [.. graphInputs.Select(RoleOf)];
        _buffers = [.. graphInputs.Select(_ => new TensorBuffer<long>())];
        if (!_roles.Contains(Role.InputIds))
            throw new ModelFolderException(folder.ModelPath, folder.InputIdsName, "the graph has no input of this name.");
    }

    /// <summary>The graph's inputs, in the order of <see cref="Fill"/>'s values.</summary>
    public string[] Names { get; }

    /// <summary>The values for adding tokens [batch, n] to sequences of any lengths; the caller disposes them.</summary>
    public OrtValue[] Fill(KvSequence[] batch, ReadOnlySpan<int> tokens)
    {
        int newTokens = tokens.Length / batch.Length;
        var past = new int[batch.Length];
        for (int i = 0; i < past.Length; i++) past[i] = checked((int)batch[i].Length);
        var values = new OrtValue[_roles.Length];
        for (int i = 0; i < values.Length; i++)
        {
            TensorBuffer<long> buffer = _buffers[i];
            values[i] = _roles[i] switch
            {
                Role.InputIds => FillInputIds(buffer, tokens, batch.Length, newTokens),
                Role.AttentionMask => FillAttentionMask(buffer, past, newTokens),
                Role.PositionIds => FillPositionIds(buffer, past, newTokens),
                _ => FillHandles(buffer, batch),
            };
        }
        return values;
    }

    private static OrtValue FillInputIds(TensorBuffer<long> buffer, ReadOnlySpan<int> tokens, int batch, int newTokens)
    {
        Span<long> ids = buffer.Take(tokens.Length);
        for (int i = 0; i < tokens.Length; i++) ids[i] = tokens[i];
        return buffer.AsTensor(batch, newTokens);
    }

    /// <summary>Row i has as many ones as sequence i has tokens after the run; its width is the longest one's.</summary>
    private static OrtValue FillAttentionMask(TensorBuffer<long> buffer, int[] past, int newTokens)
    {
        int width = past.Max() + newTokens;
        Span<long> mask = buffer.Take(past.Length * width);
        for (int i = 0; i < past.Length; i++)
        {
            Span<long> row = mask.Slice(i * width, width);
            row[..(past[i] + newTokens)].Fill(1);
            row[(past[i] + newTokens)..].Clear();
        }
        return buffer.AsTensor(past.Length, width);
    }

    private static OrtValue FillPositionIds(TensorBuffer<long> buffer, int[] past, int newTokens)
    {
        Span<long> positions = buffer.Take(past.Length * newTokens);
        for (int i = 0; i < positions.Length; i++) positions[i] = past[i / newTokens] + (i % newTokens);
        return buffer.AsTensor(past.Length, newTokens);
    }

    private static OrtValue FillHandles(TensorBuffer<long> buffer, KvSequence[] batch)
    {
        Span<long> handles = buffer.Take(batch.Length);
        for (int i = 0; i < batch.Length; i++) handles[i] = batch[i].Handle;
        return buffer.AsTensor(batch.Length);
    }
}
