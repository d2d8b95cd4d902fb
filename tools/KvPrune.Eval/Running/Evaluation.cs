using KvPrune.Eval.Methods;
using KvPrune.Eval.Results;
using KvPrune.Eval.Tasks;

namespace KvPrune.Eval.Running;

/// <summary>Measures what the journal does not hold yet, sample by sample over all methods.</summary>
internal sealed class Evaluation
{
    // Room for two answers and a second question.
    private const int SpareContext = 256;

    private readonly EvalModel _model;
    private readonly EvalSettings _settings;
    private readonly Journal _journal;
    private readonly IReadOnlyList<IEvalTask> _tasks;
    private readonly SampleFactory _samples;
    private readonly TextTokens _text;

    public Evaluation(EvalModel model, SourceText text, EvalSettings settings, Journal journal)
    {
        _model = model;
        _settings = settings;
        _journal = journal;
        DriftTokens = settings.DriftTokens ?? (model.Folder.ContextLength - DriftRunner.PrefixTokens);
        _tasks = [.. TaskCatalogue.Create(text).Where(task => settings.Tasks.Contains(task.Name))];
        _samples = new SampleFactory(model.Prompts, settings.Seed);
        _text = new TextTokens(model.Prompts, text, settings.Seed);
    }

    /// <summary>Tokens of a continuation.</summary>
    public int DriftTokens { get; }

    /// <summary>Checks that prompts and continuations fit a model.</summary>
    /// <exception cref="ArgumentException">They do not; names the numbers.</exception>
    public static void RequireContext(EvalSettings settings, int context)
    {
        if (settings.Lengths.Max() + SpareContext > context)
        {
            throw new ArgumentException(
                $"Prompts of {settings.Lengths.Max()} tokens do not fit: the model's context is {context} tokens, of which {SpareContext} are left for answers.");
        }
        if (settings.DriftTokens + DriftRunner.PrefixTokens > context)
        {
            throw new ArgumentException(
                $"A continuation of {settings.DriftTokens} tokens does not fit: the model's context is {context} tokens, and {DriftRunner.PrefixTokens} are continued.");
        }
    }

    /// <summary>One sample that is to be measured.</summary>
    /// <param name="Description">What it is.</param>
    /// <param name="Run">Measures it with the methods that it is missing.</param>
    internal sealed record Step(string Description, Func<Action<string>, CancellationToken, List<Measurement>> Run);

    /// <summary>What is missing, in an order in which a run that is stopped early has covered all tasks and lengths evenly.</summary>
    public List<Step> MissingSteps()
    {
        List<Step> steps = [];
        for (int index = 0; index < _settings.Samples; index++)
        {
            foreach (int length in _settings.Lengths)
            {
                steps.AddRange(_tasks.Select(task => Answers(task, length, index)).OfType<Step>());
                if (_settings.Tasks.Contains(TextMeasurement.TaskName) && Text(length, index) is { } text) steps.Add(text);
            }
        }
        if (_settings.Tasks.Contains(DriftMeasurement.TaskName))
            steps.AddRange(Enumerable.Range(0, _settings.DriftSamples).Select(Drift).OfType<Step>());
        return steps;
    }

    /// <summary>Measures a sample and writes it down.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled; nothing was written.</exception>
    public void Run(Step step, Action<string> report, CancellationToken cancellation) => _journal.Add(step.Run(report, cancellation));

    private Step? Answers(IEvalTask task, int length, int index)
    {
        var missing = new Dictionary<AskMode, IReadOnlyList<Method>>();
        // Word lists have nothing else to ask about, nor does a single needle.
        foreach (AskMode mode in _settings.Modes.Where(mode => mode != AskMode.Second || HasSecondQuestion(task)))
        {
            if (Missing(AnswerMeasurement.SeriesOf(mode, task.Name), length, index) is { Count: > 0 } methods) missing[mode] = methods;
        }
        AnswerRunner runner = new(_model);
        return missing.Count == 0 ? null : new Step(
            $"{task.Name}, {length} tokens", (_, cancellation) => runner.Run(_samples.Create(task, length, index), missing, cancellation));
    }

    private Step? Text(int length, int index)
    {
        List<Method> missing = Missing(TextMeasurement.TaskName, length, index);
        return missing.Count == 0 ? null : new Step(
            $"{TextMeasurement.TaskName}, {length} tokens", (_, cancellation) => Only(
                missing, new TextRunner(_model, _text).Run(WithBaseline(missing), length, index, cancellation)));
    }

    private Step? Drift(int index)
    {
        List<Method> missing = Missing(DriftMeasurement.TaskName, DriftRunner.PrefixTokens + DriftTokens, index);
        return missing.Count == 0 ? null : new Step(
            DriftMeasurement.TaskName, (report, cancellation) => Only(missing, new DriftRunner(_model, _text).Run(
                WithBaseline(missing), DriftTokens, index, done => report($"{DriftMeasurement.TaskName}, {done} of {DriftTokens} tokens"), cancellation)));
    }

    private List<Method> Missing(string series, int length, int index) =>
        [.. _settings.Methods.Where(method => !_journal.Has(series, length, index, method))];

    private IReadOnlyList<Method> WithBaseline(IReadOnlyList<Method> methods) => [.. _settings.Methods.Take(1).Union(methods)];

    private static List<Measurement> Only(IReadOnlyList<Method> methods, List<Measurement> measurements) =>
        [.. measurements.Where(measurement => methods.Any(method => method.Name == measurement.Method))];

    private static bool HasSecondQuestion(IEvalTask task) => task.Create(seed: 0, units: 0).Second is not null;
}
