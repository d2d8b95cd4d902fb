using System.Runtime.InteropServices;
using KvPrune.ModelBuilder;

namespace KvPrune.Benchmarks.Model;

/// <summary>A model with random weights in a temporary folder, which goes away with this object or with the process.</summary>
internal sealed class RandomModelFolder : IDisposable
{
    /// <summary>The precisions by name: those whose cache is of 32-bit floats.</summary>
    public static readonly IReadOnlyDictionary<string, WeightPrecision> Precisions =
        new Dictionary<string, WeightPrecision> { ["int4"] = WeightPrecision.Int4, ["fp32"] = WeightPrecision.Fp32 };

    private readonly DirectoryInfo _parent = Directory.CreateTempSubdirectory("kvprune-benchmark-");
    private readonly PosixSignalRegistration[] _signals;

    /// <param name="shape">One of <see cref="ModelShapes.Named"/>.</param>
    /// <param name="layers">Layers, with the vocabulary cut in the same measure, so that the parts of a token keep their shares of its time; null: all.</param>
    /// <param name="precision">One of <see cref="Precisions"/>.</param>
    /// <param name="contextLength">The longest sequence.</param>
    /// <exception cref="ArgumentException">There are more layers than the shape has.</exception>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    public RandomModelFolder(string shape, int? layers, string precision, int contextLength)
    {
        // Neither interrupt ends the process through Dispose.
        _signals = [PosixSignalRegistration.Create(PosixSignal.SIGINT, _ => Delete()), PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => Delete())];
        try
        {
            var full = ModelShapes.Named[shape];
            var name = Name(shape, precision);
            var cut = full with { ContextLength = contextLength };
            if (layers is { } count && count != full.Layers)
            {
                if (count > full.Layers)
                    throw new ArgumentException($"{shape} has {full.Layers} layers, not {count}.");
                name += $"-{count}-of-{full.Layers}-layers";
                cut = cut with { Layers = count, Vocabulary = Math.Max(RandomModel.SmallestVocabulary, full.Vocabulary * count / full.Layers) };
            }

            Path = System.IO.Path.Combine(_parent.FullName, name);
            RandomModel.Build(Path, cut, seed: 1, new BuildOptions { Precision = Precisions[precision] });
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string Path { get; } = "";

    /// <summary>What the folder of a whole model is called.</summary>
    public static string Name(string shape, string precision) => $"{shape}-{precision}";

    public void Dispose()
    {
        Array.ForEach(_signals, signal => signal.Dispose());
        Delete();
    }

    private void Delete()
    {
        _parent.Refresh();
        if (_parent.Exists)
            _parent.Delete(recursive: true);
    }
}
