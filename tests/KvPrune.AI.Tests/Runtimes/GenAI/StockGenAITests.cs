using System.Diagnostics;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Runtimes.GenAI;
using KvPrune.ModelBuilder;
using KvPrune.ModelBuilder.Tests.Onnx;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>With nothing removed both runtimes compute what GenAI itself does with the untouched folder.</summary>
public sealed class StockGenAITests : IDisposable
{
    // Of the largest logit. All sides run the same matrix products on the same shapes; only attention sums differ.
    private const float Tolerance = 1e-4f;
    private const int GreedyTokens = 200;

    private readonly string _folder = Directory.CreateTempSubdirectory("kvprune-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(1000)] // whole
    [InlineData(100)]
    public void The_bundled_model(int chunkTokens)
    {
        using var sides = new Sides(BundledModel.Folder);
        sides.Read(BundledModel.ReferencePrompt.Tokens, chunkTokens);
        sides.GenerateFreely(GreedyTokens);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(127)] // room for one token
    public void A_prompt_of_any_length_goes_on_to_the_end_of_the_context(int promptTokens)
    {
        using AlteredFolder folder = AlteredFolder.WithContext(128);
        using var sides = new Sides(folder.Path);
        sides.Read(BundledModel.ReferencePrompt.Tokens[..promptTokens], 1000);
        sides.Generate(128 - promptTokens, runLast: false); // GenAI cannot run a token that ends the context
    }

    [Theory]
    [MemberData(nameof(Variant.Names), MemberType = typeof(Variant))]
    public void Random_models(string name)
    {
        Variant variant = Variant.All[name];
        string model = BuildRandomModel(variant);
        // The mask that GenAI's builder writes for MultiHeadAttention takes a prompt in one piece.
        foreach (int chunk in variant.Attention == AttentionLayout.MultiHead ? new[] { 1000 } : new[] { 1000, 61 })
        {
            using var sides = new Sides(model);
            sides.Read(RandomPrompt(variant.Shape.HeadSize, 150), chunk);
            sides.Generate(50);
        }
    }

    [Theory]
    [InlineData(1000)]
    [InlineData(37)]
    public void After_a_rewind_to_a_prompts_end_another_one_goes_on(int chunkTokens)
    {
        using var sides = new Sides(BuildRandomModel(Variant.All["llama 8/2/64 untied"]));
        sides.Read(RandomPrompt(1, 120), chunkTokens);
        sides.Mark();
        sides.Generate(40);
        for (int branch = 2; branch < 4; branch++)
        {
            sides.ReturnToMark();
            sides.Read(RandomPrompt(branch, 50 + branch), chunkTokens);
            sides.Generate(40);
        }
    }

    [Fact]
    public void Turns_follow_an_end_token_a_length_limit_and_a_cancellation()
    {
        using var sides = new Sides(BuildRandomModel(Variant.All["llama 6/2/96 separate"]));
        sides.Read(RandomPrompt(1, 100), 1000);
        sides.Generate(30);
        sides.Add(sides.EndToken); // drawn and run
        sides.Read(RandomPrompt(2, 40), 1000);
        int last = sides.Generate(30, runLast: false); // the limit: drawn, shown, not run
        sides.Read([last, .. RandomPrompt(3, 40)], 1000);
        sides.Generate(30);
        sides.CancelReading(RandomPrompt(4, 100));
        sides.Generate(30);
        sides.Read(RandomPrompt(5, 40), 1000);
        sides.Generate(30);
    }

    private string BuildRandomModel(Variant variant)
    {
        string model = Path.Combine(_folder, "model");
        RandomModel.Build(model, variant.Shape, seed: 8, new BuildOptions { Attention = variant.Attention });
        return model;
    }

    private static int[] RandomPrompt(int seed, int tokens)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, tokens).Select(_ => random.Next(256))];
    }

    /// <summary>Stock GenAI, whose greedy choices all sides follow, and both runtimes, compared after each step.</summary>
    private sealed class Sides : IDisposable
    {
        private readonly StockGenerator _stock;
        private readonly Side[] _sides;
        private readonly IReadOnlyList<int> _ends;
        private int _markedLength;

        public Sides(string folder)
        {
            _stock = new StockGenerator(folder);
            _ends = GenAIModelFolder.Load(folder).EndTokens;
            _sides = [new(TestDecoders.LoadGenAI(folder)), new(TestDecoders.LoadOnnxRuntime(folder))];
        }

        public int EndToken => _ends[0];

        public void Read(int[] tokens, int chunk)
        {
            foreach (int[] part in tokens.Chunk(chunk)) _stock.Append(part);
            Compare(side => side.Decoder.Read(side.Sequence, tokens, chunk));
        }

        public void Add(int token)
        {
            _stock.Append(token);
            Compare(side => side.Decoder.Add(side.Sequence, token));
        }

        /// <summary>GenAI's own loop; the last token is given back when it is not run.</summary>
        public int Generate(int tokens, bool runLast = true)
        {
            int token = 0;
            for (int i = 0; i < tokens; i++)
            {
                int length = _stock.Length;
                token = _stock.GenerateNextToken();
                bool ended = _stock.Length == length; // GenAI draws an end token, may leave it out and wants to stop
                if (i == tokens - 1 && !runLast)
                {
                    if (!ended) _stock.RewindTo(_stock.Length - 1);
                    return token;
                }
                Assert.True(!ended || _ends.Contains(token));
                if (ended) _stock.Append(token);
                Compare(side => side.Decoder.Add(side.Sequence, token));
            }
            return token;
        }

        public void Mark()
        {
            _markedLength = _stock.Length;
            foreach (Side side in _sides) side.Marked = side.Sequence.Fork();
        }

        public void ReturnToMark()
        {
            _stock.RewindTo(_markedLength);
            foreach (Side side in _sides)
            {
                side.Sequence.Dispose();
                side.Sequence = side.Marked!.Fork();
            }
        }

        /// <summary>Reads a prompt in two runs, the second one after a shorter one was stopped in flight: GenAI reads it in one.</summary>
        public void CancelReading(int[] tokens)
        {
            int length = _stock.Length;
            _stock.Append(tokens);
            Compare(side =>
            {
                var logits = new float[side.Decoder.VocabularySize];
                for (TimeSpan delay = TimeSpan.FromMilliseconds(20); ; delay *= 0.7)
                {
                    IDecoderSequence attempt = side.Sequence.Fork();
                    attempt.OpenSegment(tokens.Length);
                    side.Decoder.Prefill(attempt, tokens.AsSpan(0, 10), logits, CancellationToken.None);
                    if (!IsStoppedInFlight(token => side.Decoder.Prefill(attempt, tokens.AsSpan(10..^1), logits, token), delay))
                    {
                        attempt.Dispose(); // the run was faster
                        continue;
                    }
                    side.Sequence.Dispose();
                    side.Sequence = attempt;
                    Assert.Equal(length + 10, attempt.GetInfo().Length);
                    side.Decoder.Prefill(attempt, tokens.AsSpan(10), logits, CancellationToken.None);
                    return logits;
                }
            });
        }

        /// <summary>Cancels after a delay, from another thread; false if the run was over before.</summary>
        private static bool IsStoppedInFlight(Action<CancellationToken> run, TimeSpan delay)
        {
            using var cancellation = new CancellationTokenSource();
            long start = 0; // set when the run is called: earlier it cannot be cancelled
            var canceller = new Thread(() =>
            {
                SpinWait.SpinUntil(() => Volatile.Read(ref start) != 0 && Stopwatch.GetElapsedTime(Volatile.Read(ref start)) >= delay);
                cancellation.Cancel();
            });
            canceller.Start();
            try
            {
                Volatile.Write(ref start, Stopwatch.GetTimestamp());
                run(cancellation.Token);
                return false;
            }
            catch (OperationCanceledException)
            {
                return true;
            }
            finally
            {
                canceller.Join();
            }
        }

        /// <summary>
        /// As <see cref="Generate"/>, but before that each side follows choices of its own, which may leave GenAI's only
        /// where the two likeliest tokens are closer than the tolerance.
        /// </summary>
        public void GenerateFreely(int tokens)
        {
            List<int>[] own = [.. _sides.Select(side => side.GenerateAlone(tokens))];
            List<(int Token, bool IsClear)> stock = [];
            for (int i = 0; i < tokens; i++)
            {
                float[] logits = _stock.Logits();
                stock.Add((TestDecoders.ArgMax(logits), Margin(logits) > 2 * Tolerance * logits.Max(Math.Abs)));
                Assert.Equal(Generate(1), stock[^1].Token);
            }
            foreach (List<int> answer in own)
            {
                int same = answer.Zip(stock).TakeWhile(pair => pair.First == pair.Second.Token).Count();
                if (same < tokens && stock[same].IsClear) Assert.Fail($"token {same} of {tokens} is {answer[same]} instead of {stock[same]}");
                Assert.True(same > tokens / 4, $"only {same} of {tokens} tokens are equal");
            }
        }

        public void Dispose()
        {
            _stock.Dispose();
            foreach (Side side in _sides)
            {
                side.Sequence.Dispose();
                side.Marked?.Dispose();
                Assert.Equal(0, side.Decoder.GetStatistics().Sequences);
                side.Decoder.Dispose();
            }
        }

        private void Compare(Func<Side, float[]> step)
        {
            float[] expected = _stock.Logits();
            float scale = expected.Max(Math.Abs);
            foreach (Side side in _sides)
            {
                float[] actual = step(side);
                for (int i = 0; i < expected.Length; i++)
                {
                    Assert.True(
                        Math.Abs(expected[i] - actual[i]) <= Tolerance * scale,
                        $"{side.Decoder.GetType().Name}, {side.Sequence.GetInfo().Length} of {_stock.Length} tokens: logit {i} is {actual[i]} instead of {expected[i]}");
                }
                side.Logits = actual;
            }
        }

        private static float Margin(float[] logits)
        {
            int best = TestDecoders.ArgMax(logits);
            return logits[best] - logits.Where((_, i) => i != best).Max();
        }

        private sealed class Side(IDecoderRuntime decoder)
        {
            public IDecoderRuntime Decoder => decoder;

            public IDecoderSequence Sequence { get; set; } = decoder.CreateSequence(PruningPolicy.Exact);

            public IDecoderSequence? Marked { get; set; }

            /// <summary>After the last step.</summary>
            public float[] Logits { get; set; } = [];

            public List<int> GenerateAlone(int tokens)
            {
                using IDecoderSequence fork = Sequence.Fork();
                List<int> answer = [TestDecoders.ArgMax(Logits)];
                while (answer.Count < tokens) answer.Add(TestDecoders.ArgMax(decoder.Add(fork, answer[^1])));
                return answer;
            }
        }
    }
}
