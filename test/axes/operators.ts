/**
 * Names of operators with how many inputs and outputs each may have, "Name:least-most>outputs", most
 * cut at 20 and 9. Facts about the interfaces of ONNX 1.23.2 (onnx.defs.get_all_schemas) and ONNX
 * Runtime 1.32.0 (get_all_operator_schema of its Python binding), printed by those packages.
 */
export const standard = `
Abs:1-1>1 Acos:1-1>1 Acosh:1-1>1 Add:2-2>1 AffineGrid:2-2>1 And:2-2>1 ArgMax:1-1>1 ArgMin:1-1>1
Asin:1-1>1 Asinh:1-1>1 Atan:1-1>1 Atanh:1-1>1 Attention:3-7>4 AveragePool:1-1>1
BatchNormalization:5-5>3 Bernoulli:1-1>1 BitCast:1-1>1 BitShift:2-2>1 BitwiseAnd:2-2>1
BitwiseNot:1-1>1 BitwiseOr:2-2>1 BitwiseXor:2-2>1 BlackmanWindow:1-1>1 Cast:1-1>1 CastLike:2-2>1
CausalConvWithState:2-4>2 Ceil:1-1>1 Celu:1-1>1 CenterCropPad:2-2>1 Clip:1-3>1 Col2Im:3-3>1
Compress:2-2>1 Concat:1-9>1 ConcatFromSequence:1-1>1 Constant:0-0>1 ConstantOfShape:1-1>1
Conv:2-3>1 ConvInteger:2-4>1 ConvTranspose:2-3>1 Cos:1-1>1 Cosh:1-1>1 CumProd:2-2>1 CumSum:2-2>1
DFT:1-3>1 DeformConv:3-5>1 DepthToSpace:1-1>1 DequantizeLinear:2-3>1 Det:1-1>1 Div:2-2>1
Dropout:1-3>2 DynamicQuantizeLinear:1-1>3 Einsum:1-9>1 Elu:1-1>1 Equal:2-2>1 Erf:1-1>1 Exp:1-1>1
Expand:2-2>1 EyeLike:1-1>1 Flatten:1-1>1 Floor:1-1>1 GRU:3-6>2 Gather:2-2>1 GatherElements:2-2>1
GatherND:2-2>1 Gelu:1-1>1 Gemm:2-3>1 GlobalAveragePool:1-1>1 GlobalLpPool:1-1>1
GlobalMaxPool:1-1>1 Greater:2-2>1 GreaterOrEqual:2-2>1 GridSample:2-2>1 GroupNormalization:3-3>1
HammingWindow:1-1>1 HannWindow:1-1>1 HardSigmoid:1-1>1 HardSwish:1-1>1 Hardmax:1-1>1
Identity:1-1>1 If:1-1>1 ImageDecoder:1-1>1 InstanceNormalization:3-3>1 IsInf:1-1>1 IsNaN:1-1>1
LRN:1-1>1 LSTM:3-8>3 LayerNormalization:2-3>3 LeakyRelu:1-1>1 Less:2-2>1 LessOrEqual:2-2>1
LinearAttention:3-6>2 Log:1-1>1 LogSoftmax:1-1>1 Loop:2-9>1 LpNormalization:1-1>1 LpPool:1-1>1
MatMul:2-2>1 MatMulInteger:2-4>1 Max:1-9>1 MaxPool:1-1>2 MaxRoiPool:2-2>1 MaxUnpool:2-3>1
Mean:1-9>1 MeanVarianceNormalization:1-1>1 MelWeightMatrix:5-5>1 Min:1-9>1 Mish:1-1>1 Mod:2-2>1
Mul:2-2>1 Multinomial:1-1>1 Neg:1-1>1 NegativeLogLikelihoodLoss:2-3>1 NonMaxSuppression:2-5>1
NonZero:1-1>1 Not:1-1>1 OneHot:3-3>1 Optional:0-1>1 OptionalGetElement:1-1>1
OptionalHasElement:0-1>1 Or:2-2>1 PRelu:2-2>1 Pad:2-4>1 Pow:2-2>1 QLinearConv:8-9>1
QLinearMatMul:8-8>1 QuantizeLinear:2-3>1 RMSNormalization:2-2>1 RNN:3-6>2 RandomNormal:0-0>1
RandomNormalLike:1-1>1 RandomUniform:0-0>1 RandomUniformLike:1-1>1 Range:3-3>1 Reciprocal:1-1>1
ReduceL1:1-2>1 ReduceL2:1-2>1 ReduceLogSum:1-2>1 ReduceLogSumExp:1-2>1 ReduceMax:1-2>1
ReduceMean:1-2>1 ReduceMin:1-2>1 ReduceProd:1-2>1 ReduceSum:1-2>1 ReduceSumSquare:1-2>1
RegexFullMatch:1-1>1 Relu:1-1>1 Reshape:2-2>1 Resize:1-4>1 ReverseSequence:2-2>1 RoiAlign:3-3>1
RotaryEmbedding:3-4>1 Round:1-1>1 STFT:2-4>1 Scan:1-9>1 ScatterElements:3-3>1 ScatterND:3-3>1
Selu:1-1>1 SequenceAt:2-2>1 SequenceConstruct:1-9>1 SequenceEmpty:0-0>1 SequenceErase:1-2>1
SequenceInsert:2-3>1 SequenceLength:1-1>1 SequenceMap:1-9>1 Shape:1-1>1 Shrink:1-1>1
Sigmoid:1-1>1 Sign:1-1>1 Sin:1-1>1 Sinh:1-1>1 Size:1-1>1 Slice:3-5>1 Softmax:1-1>1
SoftmaxCrossEntropyLoss:2-3>2 Softplus:1-1>1 Softsign:1-1>1 SpaceToDepth:1-1>1 Split:1-2>1
SplitToSequence:1-2>1 Sqrt:1-1>1 Squeeze:1-2>1 StringConcat:2-2>1 StringNormalizer:1-1>1
StringSplit:1-1>2 Sub:2-2>1 Sum:1-9>1 SwiGLU:2-2>1 Swish:1-1>1 Tan:1-1>1 Tanh:1-1>1
TensorScatter:2-3>1 TfIdfVectorizer:1-1>1 ThresholdedRelu:1-1>1 Tile:2-2>1 TopK:2-2>2
Transpose:1-1>1 Trilu:1-2>1 Unique:1-1>4 Unsqueeze:2-2>1 Where:3-3>1 Xor:2-2>1
`

export const contrib = `
Attention:2-7>2 AttnLSTM:3-14>3 BeamSearch:5-12>3 BiasAdd:3-3>1 BiasDropout:2-5>2 BiasGelu:2-2>1
BiasSoftmax:2-2>1 BiasSplitGelu:2-2>1 BifurcationDetector:3-4>2 BitmaskBiasDropout:2-5>2
BitmaskDropout:1-3>2 BranchwiseRMSNorm:1-2>1 CDist:2-2>1 CausalConvWithState:2-4>3
ComplexMul:2-2>1 ComplexMulConj:2-2>1 ConvStateReplay:4-4>1 ConvTransposeWithDynamicPads:2-4>1
CropAndResize:4-4>1 DecoderAttention:12-12>3 DecoderMaskedMultiHeadAttention:1-11>4
DecoderMaskedSelfAttention:7-9>2 DequantizeBFP:3-3>1 DequantizeLinear:2-3>1
DequantizeWithOrder:2-2>1 DynamicQuantizeLSTM:12-12>3 DynamicQuantizeMatMul:3-5>1
DynamicSparseAttention:11-20>4 DynamicTimeWarping:1-1>1 EPContext:0-20>9
EmbedLayerNormalization:7-9>3 EngramGate:5-6>2 ExpandDims:2-2>1 FastGelu:1-2>1 FusedConv:2-4>1
FusedGemm:2-3>1 FusedMatMul:2-2>1 FusedMatMulActivation:2-2>1 GatedAdd:3-4>1
GatedDeltaNet:1-11>3 GatedDeltaNetStateReplay:4-4>1 GatedRMSNorm:3-3>1
GatedRelativePositionBias:6-7>1 GatherBlockQuantized:3-4>1 GatherND:2-2>1 GatherPacked:2-2>1
Gelu:1-1>1 GemmFastGelu:2-3>1 GemmFloat8:2-6>1 GemmaRotaryEmbedding:5-5>2 GreedySearch:2-7>1
GridSample:2-2>1 GroupNorm:3-3>1 GroupQueryAttention:7-17>4 HyperConnectionLowRankMix:5-7>3
HyperConnectionPostMix:3-4>1 HyperConnectionPreMix:2-2>1 Inverse:1-1>1 Irfft:1-1>1
IsAllFinite:1-20>1 LinearAttention:3-6>2 LinearAttentionGate:3-4>2 LongformerAttention:7-7>1
MRotaryEmbedding:4-4>1 Mamba2Verify:10-10>5 MatMulBlockQuantizedFp4Weight:4-6>1
MatMulBlockQuantizedFp8Weight:3-5>1 MatMulBnb4:3-3>1 MatMulFpQ4:3-3>1 MatMulInteger16:2-2>1
MatMulIntegerToFloat:4-7>1 MatMulNBits:3-6>1 MatMulNBitsMlp:8-9>2 MatMulNBitsQLoRA:7-7>1
MatMulNBitsQkv:11-12>4 MatMulPacked:2-3>1 MaxpoolWithMask:2-2>1 MoE:5-8>1 MoEGroupRouter:2-3>3
MoEPacked:5-6>1 MulInteger:3-4>1 MultiHeadAttention:1-10>4 MurmurHash3:1-1>1
NGramHashMapping:3-7>2 NGramRepeatBlock:2-2>1 NhwcConv:2-3>1 NhwcFusedConv:2-4>1
NhwcMaxPool:1-1>1 PackedAttention:5-6>1 PackedMultiHeadAttention:6-7>1
PackedSparseAttentionIndexer:16-20>9 PackedSparseAttentionIndexerMerge:3-7>3 Pad:2-3>1
PagedAttention:8-17>3 QAttention:5-9>2 QEmbedLayerNormalization:18-18>2 QGemm:6-9>1
QLinearAdd:7-8>1 QLinearAveragePool:4-5>1 QLinearConcat:3-20>1 QLinearConv:8-9>1
QLinearGlobalAveragePool:5-5>1 QLinearLeakyRelu:4-5>1 QLinearMul:7-8>1 QLinearReduceMean:4-5>1
QLinearSigmoid:4-5>1 QLinearSoftmax:5-5>1 QLinearWhere:9-9>1 QMoE:6-20>1
QOrderedAttention:17-20>1 QOrderedGelu:3-3>1 QOrderedLayerNormalization:5-5>1
QOrderedLongformerAttention:14-14>1 QOrderedMatMul:5-8>1 QuantizeBFP:1-1>3 QuantizeLinear:2-3>1
QuantizeWithOrder:2-2>1 QuickGelu:1-1>1 RMSNormRotary:5-6>2 Range:2-3>1 ReduceSumInteger:1-1>1
RelativePositionBias:3-3>1 RemovePadding:2-2>4 RestorePadding:2-2>1 Rfft:1-1>1
RotaryEmbedding:4-4>1 RouterGateUpProj:2-2>2 SampleOp:1-1>1 Sampling:2-9>2 ScaledSiLU:1-2>1
SkipGroupNorm:4-5>2 SkipLayerNormalization:3-5>4 SkipSimplifiedLayerNormalization:3-4>4
Snpe:1-20>9 SparseAttention:9-11>3 SparseAttentionIndexer:8-14>3 SparsePagedAttention:11-20>3
SparseToDenseMatMul:2-2>1 SpeculativePrefixCommit:7-7>3 SwiGLU:1-2>1 Tokenizer:1-1>1
TorchEmbedding:2-4>1 TransposeMatMul:2-2>1 Trilu:1-2>1 UnfoldTensor:1-1>1 Unique:1-1>3
VarlenCausalConvWithState:5-8>3 VarlenNGramHashMapping:4-10>4 WhisperBeamSearch:5-15>5
WordConvEmbedding:4-4>1
`
